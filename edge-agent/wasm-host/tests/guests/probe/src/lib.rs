//! A task that does what its input `do` says: it tries what a task may do and what it may not.
// Its exports have names that only WebAssembly knows: on other targets this is an empty crate.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../../../sdk/wit", world: "eyot-task" });

use exports::eyot::task::task::{Description, Failure, Guest, NamedValue};
use eyot::task::blobs::{BlobError, Writer, open};
use eyot::task::types::{FailureKind, Value};
use eyot::task::{checkpoint, context, log, progress};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Probe;

impl Guest for Probe {
    fn describe() -> Description {
        loop {
            std::hint::black_box(0);
        }
    }

    fn run(inputs: Vec<NamedValue>) -> Result<Vec<NamedValue>, Failure> {
        let what = text(&inputs, "do").unwrap_or_default();
        if text(&inputs, "announce").is_some() {
            log::log(log::Level::Info, "begun");
        }
        match what.as_str() {
            "echo" => Ok(inputs.into_iter().filter(|input| input.name != "do").collect()),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "allocate" => {
                let mut held = Vec::new();
                loop {
                    held.push(vec![1u8; 1 << 20]);
                    std::hint::black_box(&held);
                }
            }
            "sleep" => {
                std::thread::sleep(Duration::from_secs(number(&inputs, "seconds")));
                Ok(vec![])
            }
            "panic" => panic!("it went wrong on purpose"),
            "exit" => std::process::exit(7),
            "recurse" => Ok(vec![output("depth", recurse(1).to_string())]),
            "fail" => Err(Failure {
                kind: match text(&inputs, "kind").as_deref() {
                    Some("invalid-input") => FailureKind::InvalidInput,
                    Some("retryable") => FailureKind::Retryable,
                    _ => FailureKind::Permanent,
                },
                message: "as asked".to_owned(),
                details: Some("{\"why\":1}".to_owned()),
            }),
            "text" => Ok(vec![output("text", format!("{:?}", "x".repeat(number(&inputs, "bytes") as usize)))]),
            "zeros" => {
                let zeros = vec!["0"; number(&inputs, "count") as usize].join(",");
                Ok(vec![output("zeros", format!("[{zeros}]"))])
            }
            "blobs" => blobs(number(&inputs, "count")),
            "read" => Ok(vec![output("names", inputs.len().to_string())]),
            "bytes" => Ok(vec![NamedValue {
                name: "bytes".to_owned(),
                value: Value::Bytes(vec![7; number(&inputs, "bytes") as usize]),
            }]),
            "names" => Ok((0..number(&inputs, "count")).map(|_| output("", String::new())).collect()),
            "not-json" => Ok(vec![output("text", "{".to_owned())]),
            "twice" => Ok(vec![output("a", "1".to_owned()), output("a", "2".to_owned())]),
            "foreign-blob" => Ok(vec![output("blob", format!("{{\"$blob\":\"b3:{}\",\"size\":1}}", "0".repeat(64)))]),
            "open" => Ok(vec![output(
                "error",
                match open(&text(&inputs, "digest").unwrap_or_default()) {
                    Ok(blob) => format!("\"opened {}\"", blob.size()),
                    Err(BlobError::Denied) => "\"denied\"".to_owned(),
                    Err(other) => format!("{:?}", format!("{other:?}")),
                },
            )]),
            "reverse" => reverse(&inputs),
            "fill" => fill(number(&inputs, "bytes")),
            "surroundings" => Ok(surroundings()),
            "context" => {
                let c = context::current();
                Ok(vec![output(
                    "context",
                    format!(
                        "{:?}",
                        format!(
                            "{} {} {} {:?} {} {} {} {}",
                            c.run,
                            c.namespace,
                            c.task,
                            c.item,
                            c.attempt,
                            c.epoch,
                            c.idempotency_key.len(),
                            c.remaining_ms.is_some_and(|ms| ms > 0 && ms <= 60_000)
                        )
                    ),
                )])
            }
            "talk" => {
                log::log(log::Level::Error, "logged");
                println!("printed to stdout");
                eprint!("printed to stderr without an end of line");
                progress::report(1, 2, "half");
                progress::report(2, 2, "whole");
                Ok(vec![])
            }
            "chatter" => {
                for n in 0..20_000 {
                    log::log(log::Level::Info, &format!("line {n}"));
                }
                Ok(vec![])
            }
            "remember" => {
                let before = checkpoint::load().map_or("null".to_owned(), |state| state.len().to_string());
                let saved = checkpoint::save(&[1, 2, 3]).is_ok();
                let after = checkpoint::load().map_or("null".to_owned(), |state| state.len().to_string());
                Ok(vec![output("seen", format!("[{before},{saved},{after}]"))])
            }
            "clock" => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
                let start = Instant::now();
                while start.elapsed().is_zero() {}
                let step = start.elapsed().as_nanos();
                Ok(vec![output("coarse", (wall % 1_000_000 == 0 && step % 1_000_000 == 0).to_string())])
            }
            "handles" => {
                let held: Vec<Writer> = (0..100_000).map(|_| Writer::new()).collect();
                Ok(vec![output("held", held.len().to_string())])
            }
            "scratch" => {
                let path = "/scratch/file";
                let seen = std::fs::write(path, b"hello").and_then(|()| std::fs::read(path)).map(|b| b.len());
                let outside = std::fs::read("/scratch/../../etc/passwd").is_ok();
                Ok(vec![output("seen", format!("[{},{outside}]", seen.unwrap_or(0)))])
            }
            "deepen" => {
                // Each level is made through a path that is short enough: the folder moves into a new one.
                for _ in 0..number(&inputs, "levels") {
                    let deeper = std::fs::create_dir("/scratch/new").and_then(|()| match std::fs::rename("/scratch/d", "/scratch/new/d") {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                        _ => std::fs::rename("/scratch/new", "/scratch/d"),
                    });
                    deeper.map_err(|e| broken(e.to_string()))?;
                }
                loop {
                    std::hint::black_box(0);
                }
            }
            "unlink" => {
                let mut held = Vec::new();
                for n in 0u64.. {
                    let path = format!("/scratch/{n}");
                    let Ok(file) = std::fs::write(&path, vec![1; 1 << 20]).and_then(|()| std::fs::File::open(&path)) else {
                        break;
                    };
                    if std::fs::remove_file(&path).is_err() {
                        break;
                    }
                    held.push(file);
                }
                Ok(vec![output("held", held.len().to_string())])
            }
            "hoard" => {
                for n in 0u64.. {
                    if std::fs::write(format!("/scratch/{}", n % 100_000), [1; 64 << 10]).is_err() {
                        break;
                    }
                }
                Ok(vec![])
            }
            other => Err(Failure {
                kind: FailureKind::InvalidInput,
                message: format!("cannot do `{other}`"),
                details: None,
            }),
        }
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if std::hint::black_box(depth) == 0 {
        0
    } else {
        1 + recurse(std::hint::black_box(depth + 1))
    }
}

/// Writes the input blob back to front, 1,000 bytes at a time.
fn reverse(inputs: &[NamedValue]) -> Result<Vec<NamedValue>, Failure> {
    let Some(Value::Blob(reference)) = inputs.iter().find(|i| i.name == "blob").map(|i| &i.value) else {
        return Err(broken("no blob".to_owned()));
    };
    let digest = reference.split('"').find(|part| part.starts_with("b3:")).unwrap_or_default();
    let blob = open(digest).map_err(|e| broken(format!("{e:?}")))?;
    let writer = Writer::new();
    let mut end = blob.size();
    while end > 0 {
        let start = end.saturating_sub(1_000);
        let mut bytes = blob.read(start, (end - start) as u32).map_err(|e| broken(format!("{e:?}")))?;
        bytes.reverse();
        writer.write(&bytes).map_err(|e| broken(format!("{e:?}")))?;
        end = start;
    }
    let written = writer.finish().map_err(|e| broken(format!("{e:?}")))?;
    Ok(vec![NamedValue {
        name: "blob".to_owned(),
        value: Value::Blob(format!("{{\"$blob\":\"{}\",\"size\":{}}}", written.digest(), written.size())),
    }])
}

/// Writes blobs of a few bytes.
fn blobs(count: u64) -> Result<Vec<NamedValue>, Failure> {
    for n in 0..count {
        let writer = Writer::new();
        writer.write(&n.to_le_bytes()).map_err(|e| broken(format!("{e:?}")))?;
        writer.finish().map_err(|e| broken(format!("{e:?}")))?;
    }
    Ok(vec![output("count", count.to_string())])
}

fn fill(bytes: u64) -> Result<Vec<NamedValue>, Failure> {
    let writer = Writer::new();
    let chunk = vec![0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len() as u64);
        writer.write(&chunk[..now as usize]).map_err(|e| broken(format!("{e:?}")))?;
        left -= now;
    }
    let size = writer.finish().map_err(|e| broken(format!("{e:?}")))?.size();
    Ok(vec![output("size", size.to_string())])
}

/// What a program can learn of where it runs.
fn surroundings() -> Vec<NamedValue> {
    vec![
        output("environment", std::env::vars().count().to_string()),
        output("arguments", std::env::args().count().to_string()),
        output("passwd", std::fs::read("/etc/passwd").is_ok().to_string()),
        output("here", std::fs::read_dir(".").is_ok().to_string()),
        output(
            "input",
            std::io::read_to_string(std::io::stdin()).map_or(0, |text| text.len()).to_string(),
        ),
    ]
}

fn output(name: &str, json: String) -> NamedValue {
    NamedValue {
        name: name.to_owned(),
        value: Value::Json(json),
    }
}

fn broken(message: String) -> Failure {
    Failure {
        kind: FailureKind::Permanent,
        message,
        details: None,
    }
}

fn text(inputs: &[NamedValue], name: &str) -> Option<String> {
    match inputs.iter().find(|input| input.name == name).map(|input| &input.value) {
        Some(Value::Json(text)) => Some(text.trim_matches('"').to_owned()),
        _ => None,
    }
}

fn number(inputs: &[NamedValue], name: &str) -> u64 {
    text(inputs, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

export!(Probe);
