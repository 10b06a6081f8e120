//! Questions on the terminal. When standard input is none, the answer is its next line.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail};

pub(crate) fn password(question: &str) -> Result<String> {
    say(question);
    let _quiet = Quiet::start();
    let answer = line()?;
    if std::io::stdin().is_terminal() {
        say("\n");
    }
    Ok(answer)
}

pub(crate) fn new_password() -> Result<String> {
    let first = password("Password: ")?;
    if first != password("Confirm password: ")? {
        bail!("the two passwords differ");
    }
    Ok(first)
}

pub(crate) fn confirm(question: &str) -> Result<bool> {
    say(&format!("{question} [y/N] "));
    Ok(matches!(line()?.to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn say(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

fn line() -> Result<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    if read == 0 {
        bail!("no answer on standard input; hint: give it as an option");
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Typed characters are not shown while this lives.
#[cfg(unix)]
struct Quiet(nix::sys::termios::Termios);

#[cfg(unix)]
impl Quiet {
    fn start() -> Option<Self> {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &quiet).ok()?;
        Some(Self(before))
    }
}

#[cfg(unix)]
impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = nix::sys::termios::tcsetattr(std::io::stdin(), nix::sys::termios::SetArg::TCSANOW, &self.0);
    }
}

#[cfg(not(unix))]
struct Quiet;

#[cfg(not(unix))]
impl Quiet {
    const fn start() -> Self {
        Self
    }
}
