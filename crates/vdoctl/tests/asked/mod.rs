//! The program itself, as a person or kubectl starts it, and what stands beside it: a folder, and servers that go on while a
//! test waits for the program.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use tokio::sync::oneshot;

pub const VDOCTL: &str = env!("CARGO_BIN_EXE_vdoctl");

/// Without the cluster, the colours and the size of whoever runs the test.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A file with this content.
    pub fn file(&self, name: &str, content: &(impl AsRef<[u8]> + ?Sized)) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Servers on a thread of their own, since a test waits for programs. They end with it.
pub struct Aside<T> {
    pub servers: T,
    _end: oneshot::Sender<()>,
}

impl<T: Send + 'static> Aside<T> {
    pub fn start<F: Future<Output = T>>(start: impl FnOnce() -> F + Send + 'static) -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(start().await).unwrap();
                let _ = ended.await;
            });
        });
        Aside { servers: told.recv().unwrap(), _end: end }
    }
}
