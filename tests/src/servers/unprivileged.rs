use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user id of `nobody`.
const NOBODY: u32 = 65_534;

/// A command that may write to `folder`. Database servers refuse to run as root: if we are, it runs as a user that owns
/// that folder and nothing else.
pub fn command(program: impl AsRef<Path>, folder: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(folder);
    if is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).expect("root gives a folder away");
        command.uid(NOBODY).gid(NOBODY).env("HOME", folder).env("USER", "nobody").env("LOGNAME", "nobody");
    }
    command
}

/// Copies a file for a server that runs under [`command`]. Only that server can read the copy.
pub fn give(file: &Path, copy: &Path) {
    fs::copy(file, copy).expect("a file of ours");
    fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).expect("it is ours");
    if is_root() {
        chown(copy, Some(NOBODY), Some(NOBODY)).expect("root gives a file away");
    }
}

/// Runs a command to its end. Returns its output; panics with its errors when it fails.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn is_root() -> bool {
    // A process owns its own entry.
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}
