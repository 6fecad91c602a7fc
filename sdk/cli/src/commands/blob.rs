//! `eyot blob put|get`

use crate::args::BlobCommand;
use crate::config::Connection;
use crate::exit::Outcome;
use crate::human;
use crate::output::Output;

pub(crate) async fn blob(to: &Connection, command: BlobCommand, output: Output) -> Outcome {
    let client = to.client()?;
    match command {
        BlobCommand::Put { file } => {
            let blob = client.upload_file(&file, None).await?;
            output.show(&blob, |blob, _| format!("{}\n", blob.digest))
        }
        BlobCommand::Get { digest, file } => {
            let size = client.download(&digest, &file, None).await?;
            if output.is_json() {
                return output.json(&serde_json::json!({"digest": digest, "size": size, "file": file}));
            }
            output.note(format!("{} written to {}", human::bytes(size), file.display()));
            Ok(())
        }
    }
}
