//! The keeper: the process between the server and a driver, which outlives the server.
//!
//! The same binary, run as `firesteel keeper RUN_DIR` before any runtime starts, in a session of its own. It is a child
//! subreaper, so whatever the driver forks stays below it and goes with it. It spawns `spark-submit`, writes its output to
//! capped files, waits, ends everything left, and writes `exit.json` last. SIGTERM asks it to end the driver: SIGTERM to the
//! driver, SIGKILL to all after the grace.
//!
//! It keeps the server's rights where the driver runs as another user (`step` gives them up): so the driver can neither end it, nor write what it
//! writes, and it can end all that is below it. It also sees to the driver's limits (`watch`) and to its user's Kerberos ticket (`user_ticket`).
//!
//! Called by `main`; calls `step`, `cgroup`, `watch`, `user_ticket`, `process`, `log` and `run_dir`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use signal_hook::low_level::pipe;

use super::cgroup::Group;
use super::log::Segments;
use super::process::{ProcessName, descendants, stand_back};
use super::run_dir::{Exit, Launch, RunDir};
use super::step::Step;
use super::watch::Watch;
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
    let group = Group::make(&launch.cgroups, &run_dir.id(), &launch.limits);
    group.stand_back(launch.nice);
    let watch = Watch::new(launch.limits.clone(), group, me.pid, run_dir.own());
    let troubles = match with_ticket(&launch, &signals) {
        Ok(troubles) => troubles,
        Err(sentence) => {
            watch.group().remove();
            let exit = Exit {
                ticket: Some(sentence),
                at: now_ms(),
                ..Exit::default()
            };
            return run_dir
                .replace("exit.json", &serde_json::to_vec(&exit)?)
                .context("write exit.json");
        }
    };
    let exit = match spawn(&launch, watch.group(), me.pid) {
        Ok(child) => Keeper::new(child, &run_dir, &launch, signals, (watch, troubles))?.wait()?,
        Err(error) => {
            watch.group().remove();
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

/// Gets the ticket that the driver is started with, if any, and sees to it that it is renewed. What is told about that comes over the channel.
fn with_ticket(launch: &Launch, signals: &Signals) -> Result<Option<Receiver<String>>, String> {
    let (Some(ticket), Some(identity)) = (&launch.ticket, &launch.identity) else {
        return Ok(None);
    };
    let first = ticket.obtain(identity)?;
    let (failed, troubles) = channel();
    let wake = signals.waker().map_err(|error| error.to_string())?;
    ticket
        .clone()
        .keep(identity.clone(), &first, failed, wake)
        .map_err(|error| error.to_string())?;
    Ok(Some(troubles))
}

fn spawn(launch: &Launch, group: &Group, keeper: i32) -> std::io::Result<Child> {
    let mut environment = launch.environment.clone();
    environment.insert("FIRESTEEL_KEEPER_PID".to_owned(), keeper.to_string());
    let step = Step {
        argv: launch.argv.clone(),
        environment,
        directory: launch.directory.clone(),
        umask: launch.umask,
        identity: launch.identity.clone(),
        cgroups: group.procs(),
        // Where a cgroup counts, its user's other drivers don't.
        processes: if group.has_pids() {
            0
        } else {
            launch.limits.pids_max
        },
        oom_score_adj: launch.oom_score_adj,
    };
    step.start()
}

/// Signals as bytes in sockets. None is blocked: a child would inherit that and be deaf to them.
struct Signals {
    /// Somebody wants the driver to end.
    end: UnixStream,
    /// Nothing but a reason to look: a child has ended, or a terminal has closed.
    look: UnixStream,
    /// The other end of `look`.
    wake: UnixStream,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let receive = |signals: [Signal; 2]| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                pipe::register(signal as i32, write.try_clone()?)?;
            }
            Ok::<_, std::io::Error>((read, write))
        };
        let (end, _) = receive([Signal::SIGTERM, Signal::SIGINT])?;
        let (look, wake) = receive([Signal::SIGCHLD, Signal::SIGHUP])?;
        Ok(Self { end, look, wake })
    }

    /// Has another thread make the keeper look.
    fn waker(&self) -> std::io::Result<impl Fn() + Send + use<>> {
        let wake = self.wake.try_clone()?;
        wake.set_nonblocking(true)?;
        // Where there is no room, it will look anyway.
        Ok(move || drop((&wake).write(&[0])))
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
    watch: Watch,
    /// Why the driver had to end, where it was a limit.
    limit: Option<String>,
    /// What goes wrong with its user's ticket, for its log.
    troubles: Option<Receiver<String>>,
}

impl Keeper {
    fn new(
        mut child: Child,
        run_dir: &RunDir,
        launch: &Launch,
        signals: Signals,
        (watch, troubles): (Watch, Option<Receiver<String>>),
    ) -> Result<Self> {
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
            watch,
            limit: None,
            troubles,
        })
    }

    fn wait(mut self) -> Result<Exit> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let is_told = self.poll()?;
            for stream in &mut self.streams {
                stream.drain(&mut buffer);
            }
            for trouble in self.troubles.iter().flat_map(Receiver::try_iter) {
                // As any line of the driver's: a disk that is full costs it.
                let _ = self.streams[1].segments.write(format!("{trouble}\n").as_bytes());
            }
            if self.signals.take() {
                self.ask_to_end();
            }
            let childless = self.reap();
            self.keep_to_limits(is_told);
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
        self.watch.group().remove();
        let status = self.status;
        Ok(Exit {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            limit: self.limit,
            ..Exit::default()
        })
    }

    /// Ends a driver that is over a limit, at once: it has shown that it does not keep to what it is told.
    fn keep_to_limits(&mut self, is_told: bool) {
        // One that is ending already is told nothing by its cgroup any more, in which it can make no process.
        if self.kill_at.is_some() {
            return;
        }
        if self.status.is_some() {
            // What ended it may have been the kernel, for want of memory.
            self.limit = self.watch.by_kernel();
            self.kill_at = Some(Instant::now());
        } else if let Some(sentence) = self.watch.look(is_told) {
            self.limit = Some(sentence);
            self.kill_at = Some(Instant::now());
        }
    }

    /// Waits for something to do; true where a limit may have been met.
    fn poll(&self) -> Result<bool> {
        let timeout = |wait: Duration| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let timeout = match (self.status, self.kill_at) {
            (Some(_), _) => timeout(SWEEP),
            (None, Some(at)) => timeout(at.saturating_duration_since(Instant::now()).max(SWEEP)),
            (None, None) => self.watch.interval().map_or(PollTimeout::NONE, timeout),
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
        let others = watched.len();
        watched.extend(
            self.watch
                .events()
                .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)),
        );
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(watched[others..].iter().any(|file| file.any().unwrap_or(false))),
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
        self.watch.group().kill();
        for pid in descendants(nix::unistd::getpid().as_raw()) {
            // It may have ended since the look.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
