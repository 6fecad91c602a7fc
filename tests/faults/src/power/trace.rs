//! What a program asked of the file system, as `strace` wrote it down.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The calls that change files, or make changes durable.
const CALLS: &str = "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,\
    copy_file_range,sendfile,fsync,fdatasync,syncfs,sync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,\
    unlinkat,rmdir,mkdir,mkdirat";

/// What becomes of the program's syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    Real,
    /// They say that all is well and do nothing: what must be noticed, were nothing ever synced.
    Pretended,
}

/// Words before a program that make `strace` write its calls to `log`. The program keeps its process id.
#[must_use]
pub(super) fn strace(log: &Path, syncs: Syncs) -> Vec<OsString> {
    let mut words = vec![
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "67108864",
        "-e",
        "signal=SIGKILL",
    ];
    if syncs == Syncs::Pretended {
        words.extend(["-e", "inject=fsync,fdatasync:retval=0"]);
    }
    let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    words.extend(["-e".into(), OsString::from(format!("trace={CALLS}")), "-o".into(), log.into()]);
    words
}

/// One call, its arguments read. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Open {
        path: PathBuf,
        create: bool,
        truncate: bool,
        /// Writes begin at the end.
        append: bool,
    },
    /// Without an offset: where the last write to the file ended.
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    Seek {
        path: PathBuf,
    },
    Resize {
        path: PathBuf,
        length: u64,
    },
    /// Room from the beginning to `end`, which the file is made as long as.
    Allocate {
        path: PathBuf,
        end: u64,
    },
    Sync {
        path: PathBuf,
    },
    SyncAll,
    Rename {
        from: PathBuf,
        to: PathBuf,
        swap: bool,
    },
    Remove {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The call began and its end is on a later line.
    Begun { thread: u32, call: Call },
    /// The call that the thread had begun gave this.
    Ended { thread: u32, gave: i64 },
    /// It began and ended.
    Done { thread: u32, call: Call, gave: i64 },
    /// The thread is gone, by a signal.
    Killed { thread: u32 },
}

/// Reads a line; None for what is of no interest.
///
/// # Errors
/// When it cannot be understood, or the call is one that the model of the disk does not know.
pub(super) fn line(text: &str) -> Result<Option<Line>> {
    let (thread, rest) = text.split_once(' ').context("no process id")?;
    let thread: u32 = thread.parse().context("no process id")?;
    let rest = rest.trim_start();
    if rest.starts_with("+++ killed") {
        return Ok(Some(Line::Killed { thread }));
    }
    // What was only pretended did nothing.
    if rest.starts_with("+++") || rest.starts_with("---") || rest.ends_with("(INJECTED)") {
        return Ok(None);
    }
    // Cut off by the end of its thread: whether it did what it was to do is not said, so it stays under way.
    let cut_off = rest.ends_with("= ?") || has_no_result(rest);
    if rest.starts_with("<... ") {
        if cut_off {
            return Ok(None);
        }
        let gave = gave(rest)?;
        return Ok(Some(Line::Ended { thread, gave }));
    }
    let (name, rest) = rest.split_once('(').context("no call")?;
    // A thread that was killed before it could be looked at: it had not begun a call that changes something.
    if name == "???" {
        return Ok(None);
    }
    if let Some(arguments) = rest.strip_suffix(" <unfinished ...>") {
        let arguments = arguments.trim_end_matches(',');
        return Ok(call(name, &split(arguments))?.map(|call| Line::Begun { thread, call }));
    }
    let (arguments, _) = rest.rsplit_once(") ").or_else(|| rest.rsplit_once(")=")).context("no end")?;
    // The explanation of an error has brackets of its own.
    let arguments = arguments.rsplit_once(") = -1").map_or(arguments, |(arguments, _)| arguments);
    let call = call(name, &split(arguments.trim_end().trim_end_matches(')')))?;
    if cut_off {
        return Ok(call.map(|call| Line::Begun { thread, call }));
    }
    let gave = gave(rest)?;
    Ok(call.map(|call| Line::Done { thread, call, gave }))
}

/// A thread that is killed in the middle of a call may be looked at with the call's own number where its result is to be. strace
/// takes that for an error that there is not (`= -1 (errno 18446744073709551598)`), while the call may have been done.
fn has_no_result(text: &str) -> bool {
    let errno = text.rsplit_once(" = -1 (errno ").and_then(|(_, end)| end.strip_suffix(')'));
    errno.is_some_and(|errno| errno.parse::<u16>().is_err())
}

/// What a call gave: the number after the last ` = `.
fn gave(text: &str) -> Result<i64> {
    let (_, value) = text.rsplit_once("= ").context("no result")?;
    let end = value.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(value.len());
    Ok(value[..end].parse().unwrap_or(-1))
}

/// Arguments, at the commas outside of brackets. Texts are in hexadecimal, so that they hold none.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

fn call(name: &str, arguments: &[&str]) -> Result<Option<Call>> {
    let argument = |n: usize| arguments.get(n).copied().with_context(|| format!("{name} with too few arguments"));
    let number = |n: usize| -> Result<u64> { Ok(argument(n)?.parse()?) };
    let file = |n: usize| -> Result<Option<PathBuf>> { descriptor(argument(n)?) };
    let named = |n: usize| -> Result<PathBuf> { Ok(PathBuf::from(OsString::from_vec(text(argument(n)?)?))) };
    let named_at = |n: usize| -> Result<PathBuf> {
        let name = named(n + 1)?;
        Ok(if name.is_absolute() {
            name
        } else {
            file(n)?.context("no folder")?.join(name)
        })
    };
    Ok(Some(match name {
        "open" | "openat" | "creat" => {
            let at = usize::from(name == "openat");
            let path = if at == 1 { named_at(0)? } else { named(0)? };
            let flags = if name == "creat" { "O_CREAT|O_TRUNC" } else { argument(at + 1)? };
            ensure!(
                !flags.contains("SYNC"),
                "files that sync at each write are not modelled: {}",
                path.display()
            );
            Call::Open {
                path,
                create: flags.contains("O_CREAT"),
                truncate: flags.contains("O_TRUNC"),
                append: flags.contains("O_APPEND"),
            }
        }
        "write" | "pwrite64" => {
            let Some(path) = file(0)? else { return Ok(None) };
            Call::Write {
                path,
                offset: if name == "write" { None } else { Some(number(3)?) },
                bytes: text(argument(1)?)?,
            }
        }
        "writev" | "pwritev" | "pwritev2" => {
            let Some(path) = file(0)? else { return Ok(None) };
            let mut bytes = Vec::new();
            for part in argument(1)?.split("iov_base=").skip(1) {
                bytes.extend(text(part.split(',').next().unwrap_or_default())?);
            }
            Call::Write {
                path,
                offset: if name == "writev" { None } else { Some(number(3)?) },
                bytes,
            }
        }
        "lseek" => return Ok(file(0)?.map(|path| Call::Seek { path })),
        "ftruncate" => match file(0)? {
            Some(path) => Call::Resize { path, length: number(1)? },
            None => return Ok(None),
        },
        "truncate" => Call::Resize {
            path: named(0)?,
            length: number(1)?,
        },
        "fallocate" => {
            let Some(path) = file(0)? else { return Ok(None) };
            match argument(1)? {
                "0" => Call::Allocate {
                    path,
                    end: number(2)? + number(3)?,
                },
                // The file stays as long as it is, and what it holds.
                "FALLOC_FL_KEEP_SIZE" => return Ok(None),
                mode => bail!("fallocate with {mode} is not modelled"),
            }
        }
        "fsync" | "fdatasync" => return Ok(file(0)?.map(|path| Call::Sync { path })),
        "syncfs" | "sync" => Call::SyncAll,
        "rename" => Call::Rename {
            from: named(0)?,
            to: named(1)?,
            swap: false,
        },
        "renameat" | "renameat2" => Call::Rename {
            from: named_at(0)?,
            to: named_at(2)?,
            swap: arguments.get(4).is_some_and(|flags| flags.contains("EXCHANGE")),
        },
        "unlink" | "rmdir" => Call::Remove { path: named(0)? },
        "unlinkat" => Call::Remove { path: named_at(0)? },
        "mkdir" => Call::MakeFolder { path: named(0)? },
        "mkdirat" => Call::MakeFolder { path: named_at(0)? },
        // They change files too, and the model does not know how.
        other => bail!("{other} is not modelled"),
    }))
}

/// The path of an open file: `12<path>`. None where it has none any more.
fn descriptor(argument: &str) -> Result<Option<PathBuf>> {
    let Some((_, path)) = argument.split_once('<') else {
        return Ok(None);
    };
    if path.ends_with("(deleted)") {
        return Ok(None);
    }
    let path = hexadecimal(path.trim_end_matches('>'))?;
    Ok(path.starts_with(b"/").then(|| PathBuf::from(OsString::from_vec(path))))
}

fn text(argument: &str) -> Result<Vec<u8>> {
    let inner = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    hexadecimal(inner.with_context(|| format!("not a whole text: {}", &argument[..argument.len().min(40)]))?)
}

/// Bytes of `\x2f\x74`; where there is no backslash, as it stands.
fn hexadecimal(text: &str) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'\\') {
        return Ok(bytes.to_vec());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok()).context("no digit");
    bytes
        .chunks(4)
        .map(|four| match four {
            [b'\\', b'x', high, low] => Ok(digit(*high)? << 4 | digit(*low)?),
            _ => bail!("not hexadecimal"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_calls_that_are_whole_and_in_two_parts() {
        let read = |text: &str| line(text).unwrap().unwrap();
        let write = Call::Write {
            path: "/a".into(),
            offset: Some(4096),
            bytes: b"hi".to_vec(),
        };
        assert_eq!(
            read(r#"7 pwrite64(3<\x2f\x61>, "\x68\x69", 2, 4096) = 2"#),
            Line::Done {
                thread: 7,
                call: write.clone(),
                gave: 2
            }
        );
        assert_eq!(
            read(r#"7 pwrite64(3<\x2f\x61>, "\x68\x69", 2, 4096 <unfinished ...>"#),
            Line::Begun {
                thread: 7,
                call: write.clone()
            }
        );
        assert_eq!(
            read(r#"7 pwrite64(3<\x2f\x61>, "\x68\x69", 2, 4096) = -1 (errno 18446744073709551598)"#),
            Line::Begun { thread: 7, call: write }
        );
        assert_eq!(line("7 <... pwrite64 resumed>) = -1 (errno 18446744073709551598)").unwrap(), None);
        assert_eq!(read("7 <... pwrite64 resumed>) = 2"), Line::Ended { thread: 7, gave: 2 });
        let open = read(r#"7 openat(AT_FDCWD<\x2f>, "\x61", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3<\x2f\x61>"#);
        let call = Call::Open {
            path: "/a".into(),
            create: true,
            truncate: true,
            append: false,
        };
        assert_eq!(open, Line::Done { thread: 7, call, gave: 3 });
        let missing = read(r#"7 unlink("\x2f\x61") = -1 ENOENT (No such file or directory)"#);
        let call = Call::Remove { path: "/a".into() };
        assert_eq!(missing, Line::Done { thread: 7, call, gave: -1 });
        assert_eq!(read("7 +++ killed by SIGKILL +++"), Line::Killed { thread: 7 });
        assert_eq!(line(r#"7 fsync(3<\x2f\x61>) = 0 (INJECTED)"#).unwrap(), None);
        assert_eq!(line("7 +++ exited with 0 +++").unwrap(), None);
        let write = Call::Write {
            path: "/a".into(),
            offset: Some(4096),
            bytes: b"hi".to_vec(),
        };
        assert_eq!(
            read(r#"7 pwrite64(3<\x2f\x61>, "\x68\x69", 2, 4096) = ?"#),
            Line::Begun { thread: 7, call: write }
        );
        assert_eq!(line("7 <... pwrite64 resumed>) = ?").unwrap(), None);
        assert_eq!(line("7 ???()                             = ?").unwrap(), None);
    }
}
