//! The keeper: the process between the server and a driver, which outlives the server.
//!
//! The same binary, run as `firesteel keeper RUN_DIR` before any runtime starts, in a session of its own. It is a child
//! subreaper, so whatever the driver forks stays below it and goes with it. It spawns `spark-submit`, writes its output to
//! capped files, waits, ends everything left, and writes `exit.json` last. SIGTERM asks it to end the driver: SIGTERM to the
//! driver, SIGKILL to all after the grace.
//!
//! Called by `main`; calls `process`, `log` and `run_dir`.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use signal_hook::low_level::pipe;

use super::log::Segments;
use super::process::{ProcessName, descendants, stand_back};
use super::run_dir::{Exit, Launch, RunDir};
use crate::clock::now_ms;

/// How often leftovers are looked for once the driver itself has ended.
const SWEEP: Duration = Duration::from_millis(20);
/// Bytes taken from a pipe at a time.
const CHUNK: usize = 64 * 1024;

/// Runs a driver to its end. Returns when nothing of it is left.
///
/// # Errors
/// The run directory can't be used. That `spark-submit` could not be started is no error here: `exit.json` says so.
pub fn run(run_dir: &Path) -> Result<()> {
    let run_dir = RunDir::at(run_dir.to_owned());
    // Fails only for a process group's leader, which has been given a session already.
    let _ = setsid();
    nix::sys::prctl::set_child_subreaper(true).context("become a child subreaper")?;
    // A signal that came while its handler is being set up would be lost, and with it the only wish that the driver end.
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block().context("hold back signals")?;
    let signals = Signals::listen().context("listen to signals")?;
    ends.thread_unblock().context("take signals")?;

    let me = ProcessName::of(nix::unistd::getpid().as_raw()).context("read /proc")?;
    run_dir
        .replace("keeper.json", &serde_json::to_vec(&me)?)
        .context("write keeper.json")?;
    // After keeper.json: whoever finds the launch taken finds by whom.
    let launch = run_dir
        .claim_launch()
        .context("take launch.json: a later server may have withdrawn it")?;

    if launch.nice > 0 {
        // On a kernel that does not know it the driver is as quick as any other.
        let _ = stand_back(me.pid, launch.nice);
    }
    let exit = match spawn(&launch, me.pid) {
        Ok(child) => Keeper::new(child, &run_dir, &launch, signals)?.wait()?,
        Err(error) => {
            let program = launch.argv.first().map_or("", String::as_str);
            Exit {
                error: Some(format!("{program}: {error}")),
                ..Exit::default()
            }
        }
    };
    run_dir
        .replace("exit.json", &serde_json::to_vec(&Exit { at: now_ms(), ..exit })?)
        .context("write exit.json")
}

fn spawn(launch: &Launch, keeper: i32) -> std::io::Result<Child> {
    let (program, arguments) = launch
        .argv
        .split_first()
        .ok_or(std::io::ErrorKind::InvalidInput)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&launch.environment)
        .env("FIRESTEEL_KEEPER_PID", keeper.to_string())
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    // Raising it needs no privilege; where /proc says no, the driver is as likely a victim as any other process.
    let _ = fs::write(
        format!("/proc/{}/oom_score_adj", child.id()),
        launch.oom_score_adj.to_string(),
    );
    Ok(child)
}

/// Signals as bytes in sockets. None is blocked: a child would inherit that and be deaf to them.
struct Signals {
    /// Somebody wants the driver to end.
    end: UnixStream,
    /// Nothing but a reason to look: a child has ended, or a terminal has closed.
    look: UnixStream,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let receive = |signals: [Signal; 2]| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                pipe::register(signal as i32, write.try_clone()?)?;
            }
            Ok::<_, std::io::Error>(read)
        };
        Ok(Self {
            end: receive([Signal::SIGTERM, Signal::SIGINT])?,
            look: receive([Signal::SIGCHLD, Signal::SIGHUP])?,
        })
    }

    /// Takes what has come; true when one asks for the end.
    fn take(&mut self) -> bool {
        let mut bytes = [0; 64];
        while self.look.read(&mut bytes).is_ok_and(|read| read > 0) {}
        let mut end = false;
        while self.end.read(&mut bytes).is_ok_and(|read| read > 0) {
            end = true;
        }
        end
    }
}

struct Stream {
    pipe: Option<fs::File>,
    segments: Segments,
}

impl Stream {
    fn new(pipe: Option<impl Into<OwnedFd>>, segments: Segments) -> Result<Self> {
        let pipe: Option<OwnedFd> = pipe.map(Into::into);
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("make a pipe non-blocking")?;
        }
        Ok(Self {
            pipe: pipe.map(fs::File::from),
            segments,
        })
    }

    /// Takes what is there. A disk that is full costs log lines, never the driver.
    fn drain(&mut self, buffer: &mut [u8]) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => drop(self.segments.write(&buffer[..length])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

struct Keeper {
    main: Pid,
    streams: [Stream; 2],
    signals: Signals,
    kill_grace: Duration,
    kill_at: Option<Instant>,
    status: Option<ExitStatus>,
}

impl Keeper {
    fn new(mut child: Child, run_dir: &RunDir, launch: &Launch, signals: Signals) -> Result<Self> {
        let segments = |stream| Segments::new(run_dir.path(), stream, launch.log_max_bytes);
        Ok(Self {
            main: Pid::from_raw(i32::try_from(child.id())?),
            streams: [
                Stream::new(child.stdout.take(), segments("stdout"))?,
                Stream::new(child.stderr.take(), segments("stderr"))?,
            ],
            signals,
            kill_grace: Duration::from_millis(launch.kill_grace_ms),
            kill_at: None,
            status: None,
        })
    }

    fn wait(mut self) -> Result<Exit> {
        let mut buffer = vec![0; CHUNK];
        loop {
            self.poll()?;
            for stream in &mut self.streams {
                stream.drain(&mut buffer);
            }
            if self.signals.take() {
                self.ask_to_end();
            }
            let childless = self.reap();
            if self.status.is_some() || self.kill_at.is_some_and(|at| Instant::now() >= at) {
                if childless {
                    break;
                }
                self.kill_everything();
            }
        }
        for stream in &mut self.streams {
            stream.drain(&mut buffer);
        }
        let status = self.status;
        Ok(Exit {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            ..Exit::default()
        })
    }

    fn poll(&self) -> Result<()> {
        let timeout = match (self.status, self.kill_at) {
            (Some(_), _) => PollTimeout::try_from(SWEEP)?,
            (None, Some(at)) => {
                let left = at.saturating_duration_since(Instant::now()).max(SWEEP);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
            (None, None) => PollTimeout::NONE,
        };
        let signals = [&self.signals.end, &self.signals.look];
        let mut watched: Vec<PollFd<'_>> = signals
            .map(|signal| PollFd::new(signal.as_fd(), PollFlags::POLLIN))
            .into();
        watched.extend(
            self.streams
                .iter()
                .filter_map(|stream| Some(PollFd::new(stream.pipe.as_ref()?.as_fd(), PollFlags::POLLIN))),
        );
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("poll"),
        }
    }

    fn ask_to_end(&mut self) {
        if self.kill_at.is_none() && self.status.is_none() {
            self.kill_at = Some(Instant::now() + self.kill_grace);
            // The driver leads a process group of its own; shells between it and the JVM get the signal as well.
            let _ = nix::sys::signal::killpg(self.main, Signal::SIGTERM);
        }
    }

    /// Waits for whatever has ended; true when no child is left.
    fn reap(&mut self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.main => {
                    self.status = Some(ExitStatus::from_raw((code & 0xff) << 8));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.main => {
                    self.status = Some(ExitStatus::from_raw(signal as i32));
                }
                Ok(WaitStatus::StillAlive) => return false,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn kill_everything(&self) {
        for pid in descendants(nix::unistd::getpid().as_raw()) {
            // It may have ended since the look.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
