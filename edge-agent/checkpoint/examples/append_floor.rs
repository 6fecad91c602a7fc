//! What the journal costs on this disk, beside what the disk itself costs. Microseconds, medians and 99th percentiles.
//!
//! `append_floor [FOLDER]`: works in a new folder below FOLDER (the present one by default), and removes it.

use eyot_checkpoint::{Batch, Checkpoint, Config, DiskMarks, OsDisk, Record, SledSource, Timing};
use eyot_model::Position;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const COUNT: usize = 1_000;
const PAYLOAD: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let folder = Path::new(&parent).join(format!("append-floor-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &Path) -> Result<(), Box<dyn Error>> {
    let file = File::create(folder.join("floor"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 4 << 20)?;
    let bytes = [7; PAYLOAD];
    let mut offset = 0;
    let mut write = |sync: bool| -> std::io::Result<()> {
        file.write_all_at(&bytes, offset)?;
        offset += PAYLOAD as u64;
        if sync { Ok(rustix::fs::fdatasync(&file)?) } else { Ok(()) }
    };
    time("floor: write", || Ok(write(false)?))?;
    time("floor: write + fdatasync", || Ok(write(true)?))?;

    let open = || -> Result<Checkpoint, Box<dyn Error>> {
        let config = Config {
            marks: DiskMarks {
                reserve: 0,
                ..DiskMarks::default()
            },
            ..Config::default()
        };
        let disk = Arc::new(OsDisk::open(&folder.join("journal"))?);
        let store = Arc::new(SledSource::new(folder.join("store"), 8 << 20));
        let fold = |position: Position, record: &[u8], out: &mut Batch| out.put("log", position.n.to_be_bytes(), record);
        Ok(Checkpoint::open(config, disk, store, Arc::new(fold), 1, "label")?.0)
    };
    let record = || vec![Record::until_folded(vec![7; PAYLOAD])];
    let mut checkpoint = open()?;
    time("journal, one thread: append", || {
        Ok(checkpoint.append(&mut record()).map(|_| ())?)
    })?;
    time("journal, one thread: append + sync", || {
        checkpoint.append(&mut record())?;
        Ok(checkpoint.sync().map(|_| ())?)
    })?;

    let timing = Timing {
        sync_every: Duration::from_secs(3600),
        fold_every: Duration::from_secs(3600),
        ..Timing::default()
    };
    let service = checkpoint.start(timing, |_| ())?;
    time("service: append", || Ok(service.append(&mut record()).map(|_| ())?))?;
    time("service: append + wait until synced", || {
        let position = service.append(&mut record())?;
        Ok(service.wait_synced(position).map(|_| ())?)
    })?;
    let begin = Instant::now();
    for i in 1..=COUNT {
        let position = service.append(&mut record())?;
        if i % (COUNT / 10) == 0 {
            service.wait_synced(position)?;
        }
    }
    println!("{:<40} {:>9.1} in all", "service: 1,000 appends, 10 syncs", micros(begin.elapsed()));
    let begin = Instant::now();
    service.fold()?;
    println!("{:<40} {:>9.1} in all", "fold of 5,000 records, synced", micros(begin.elapsed()));
    println!("resident: {} KiB", resident()?);
    service.close()?;
    let begin = Instant::now();
    let checkpoint = open()?;
    println!("{:<40} {:>9.1} in all", "open after a clean stop", micros(begin.elapsed()));
    println!("resident: {} KiB", resident()?);
    drop(checkpoint);
    Ok(())
}

fn time(name: &str, mut once: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let begin = Instant::now();
        once()?;
        times.push(begin.elapsed());
    }
    times.sort();
    println!(
        "{name:<40} {:>9.1} / {:>9.1}",
        micros(times[COUNT / 2]),
        micros(times[COUNT * 99 / 100])
    );
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Resident memory of this process in KiB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
