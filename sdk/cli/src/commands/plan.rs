//! `eyot plan`

use crate::args::PlanArgs;
use crate::config::Connection;
use crate::exit::{Exit, Fault, Outcome};
use crate::explain;
use crate::output::Output;

pub(crate) async fn plan(to: &Connection, args: PlanArgs, output: Output) -> Outcome {
    let client = to.client()?;
    let (named, request) = super::run::request(&client, &args.workflow, &output).await?;
    let view = match client.plan(&request).await {
        Ok(view) => view,
        Err(error) => return Err(named.explain(error.into(), &output)),
    };
    output.show(&view, |view, paint| explain::render(view, args.explain, paint))?;
    if view.unplaceable.is_empty() {
        Ok(())
    } else if output.is_json() {
        Err(Fault::silent(Exit::Invalid))
    } else {
        let fault = Fault::invalid("no agent can run all of this workflow now");
        Err(fault.help("`eyot agents ls` shows who is there"))
    }
}
