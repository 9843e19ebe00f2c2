//! `submit`: an application as a batch, from upload to exit code.

use clap::Args;
use serde_json::{Map, Value, json};

use super::address::{Collection, Place};
use super::backoff::Backoff;
use super::failure::Failure;
use super::follow::{Follower, Origin};
use super::http::Client;
use super::interrupts::{Interrupt, Interrupts};
use super::local::Source;
use super::model::{self, Work};
use super::options::{Conf, Connection, Output};
use super::screen::Screen;
use super::upload::Uploads;

/// As a shell counts a process that SIGKILL ended.
const KILLED: u8 = 128 + 9;

/// `firesteel submit`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Files without a scheme are uploaded; URIs such as hdfs://... or file:/PATH are the server's to read."
)]
pub struct Submit {
    /// The application, a Python or R file or a jar, and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_names = ["FILE", "ARG"])]
    application: Vec<String>,
    /// The batch's name; unique among your batches that run.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    conf: Conf,
    /// Python files and zips to import from, with commas between them.
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    py_files: Vec<String>,
    /// Files for SparkFiles.get, with commas between them; FILE#NAME gives one another name.
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    files: Vec<String>,
    /// Jars for driver and executors, with commas between them.
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    jars: Vec<String>,
    /// Archives, unpacked for the executors; FILE#NAME names the directory.
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    archives: Vec<String>,
    /// The main class of a jar.
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Such as 2g.
    #[arg(long, value_name = "SIZE")]
    driver_memory: Option<String>,
    /// The driver's cores.
    #[arg(long, value_name = "N")]
    driver_cores: Option<u32>,
    /// Such as 2g.
    #[arg(long, value_name = "SIZE")]
    executor_memory: Option<String>,
    /// Each executor's cores.
    #[arg(long, value_name = "N")]
    executor_cores: Option<u32>,
    /// How many executors.
    #[arg(long, value_name = "N")]
    num_executors: Option<u32>,
    /// The cluster's queue.
    #[arg(long)]
    queue: Option<String>,
    /// As whom to run.
    #[arg(long, value_name = "NAME")]
    proxy_user: Option<String>,
    /// Print where the batch is, and wait for nothing.
    #[arg(long)]
    detach: bool,
    /// json: the batch as it ended on standard output, its log on standard error.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs it; gives the application's exit code.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn run(command: Submit, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let mut interrupts = Interrupts::new()?;
    let mut uploads = Uploads::new(client, screen);
    let result = submit(&command, client, screen, &mut interrupts, &mut uploads).await;
    // A batch that goes on without us needs its files.
    if !(command.detach && result.is_ok()) {
        uploads.delete().await;
    }
    screen.clear();
    result
}

async fn submit(
    command: &Submit,
    client: &Client,
    screen: &Screen,
    interrupts: &mut Interrupts,
    uploads: &mut Uploads<'_>,
) -> Result<u8, Failure> {
    let body = interrupts.or(request(command, uploads)).await?;
    // Not given up half-way: a batch may be made that nobody knows of.
    let answer = client.post("/batches", &body).await?.body;
    client.be_patient();
    let made: Work = model::read(answer.clone())?;
    let place = Place::of(Collection::Batches, made.id);
    if command.detach {
        match command.output {
            Output::Json => screen.json(&answer)?,
            Output::Table => screen.line(&place.to_string())?,
        }
        return Ok(0);
    }
    screen.status(&place.to_string());
    let watch = Watch {
        client,
        screen,
        place,
        is_json: command.output == Output::Json,
    };
    watch.to_the_end(interrupts).await
}

/// The request, once everything local is uploaded. Looks at all files before it sends one.
async fn request(command: &Submit, uploads: &mut Uploads<'_>) -> Result<Value, Failure> {
    let read = |texts: &[String]| -> Result<Vec<Source>, Failure> {
        texts
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| Source::read(text))
            .collect()
    };
    let (file, args) = match command.application.split_first() {
        Some((file, args)) => (Source::read(file)?, args),
        None => return Err(Failure::Usage("the application's file is needed".to_owned())),
    };
    let lists = [
        ("pyFiles", read(&command.py_files)?),
        ("files", read(&command.files)?),
        ("jars", read(&command.jars)?),
        ("archives", read(&command.archives)?),
    ];
    let mut body = Map::new();
    body.insert("file".to_owned(), uploads.uri(&file).await?.into());
    body.insert("args".to_owned(), args.into());
    for (name, sources) in lists {
        let mut uris = Vec::new();
        for source in sources {
            uris.push(match name {
                "files" => uploads.renamed_uri(&source).await?,
                _ => uploads.uri(&source).await?,
            });
        }
        if !uris.is_empty() {
            body.insert(name.to_owned(), uris.into());
        }
    }
    let given = [
        ("name", json!(command.name)),
        ("className", json!(command.class)),
        ("driverMemory", json!(command.driver_memory)),
        ("driverCores", json!(command.driver_cores)),
        ("executorMemory", json!(command.executor_memory)),
        ("executorCores", json!(command.executor_cores)),
        ("numExecutors", json!(command.num_executors)),
        ("queue", json!(command.queue)),
        ("proxyUser", json!(command.proxy_user)),
        ("conf", command.conf.object()),
    ];
    body.extend(
        given
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value)),
    );
    Ok(Value::Object(body))
}

/// A batch that is waited for.
struct Watch<'a> {
    client: &'a Client,
    screen: &'a Screen,
    place: Place,
    is_json: bool,
}

impl Watch<'_> {
    /// Follows the log until the batch has ended, or somebody ends it.
    async fn to_the_end(&self, interrupts: &mut Interrupts) -> Result<u8, Failure> {
        let mut follower = Follower::new(self.client, &self.place);
        let mut asked = false;
        loop {
            let interrupt = tokio::select! {
                ended = self.follow(&mut follower) => return self.ended(ended?),
                interrupt = interrupts.next() => interrupt,
            };
            let place = &self.place;
            if interrupt == Interrupt::Interrupt && self.screen.has_person() && !asked {
                asked = true;
                self.screen
                    .note(&format!("Ctrl-C again cancels {place}; it goes on otherwise."));
                continue;
            }
            self.client.delete(&place.path()).await?;
            self.screen.note(&format!("{place} was cancelled."));
            return Err(Failure::Stopped(interrupt.status()));
        }
    }

    /// Prints the log as it grows; gives the batch as it ended, and why. Cancelling it loses no line.
    async fn follow(&self, follower: &mut Follower<'_>) -> Result<(Value, Option<String>), Failure> {
        let print = |origin, line: &str| {
            self.print(origin, line);
            Ok(())
        };
        let mut backoff = Backoff::new();
        loop {
            let view = match self.client.get(&self.place.path()).await {
                Err(Failure::NotFound(_)) => {
                    self.screen.note(&format!("{} was deleted.", self.place));
                    return Err(Failure::Stopped(KILLED));
                }
                view => view?,
            };
            let batch: Work = model::read(view.clone())?;
            self.screen.status(&format!("{} {}", self.place, batch.state));
            if batch.is_ended() {
                return Ok((view, follower.finish(print).await?));
            }
            if follower.look(print).await? {
                backoff.reset();
            }
            backoff.pause().await;
        }
    }

    fn print(&self, origin: Origin, line: &str) {
        match origin {
            // Nobody may read it any more; the exit code is still wanted.
            Origin::Stdout if !self.is_json => drop(self.screen.line(line)),
            Origin::Stdout | Origin::Stderr => self.screen.error_line(line),
            Origin::Server => self.screen.note(line),
        }
    }

    fn ended(&self, (view, diagnosis): (Value, Option<String>)) -> Result<u8, Failure> {
        let batch: Work = model::read(view.clone())?;
        self.screen.clear();
        let status = exit_status(&batch.state, batch.exit_code());
        if status != 0 {
            let why = diagnosis.map_or_else(String::new, |why| format!(": {why}"));
            self.screen
                .note(&format!("{} ended {}{why}", self.place, batch.state));
        }
        if self.is_json {
            self.screen.json(&view)?;
        }
        Ok(status)
    }
}

/// The exit status for how a batch ended. Exit codes beyond a byte, and below 0, are 1.
fn exit_status(state: &str, exit_code: Option<i64>) -> u8 {
    match (state, exit_code) {
        ("success", _) => 0,
        ("killed", None | Some(0)) => KILLED,
        (_, Some(code)) => u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_the_jobs() {
        assert_eq!(exit_status("success", Some(0)), 0);
        assert_eq!(exit_status("success", None), 0);
        assert_eq!(exit_status("dead", Some(7)), 7);
        assert_eq!(exit_status("dead", Some(0)), 1);
        assert_eq!(exit_status("dead", Some(256)), 1);
        assert_eq!(exit_status("dead", None), 1);
        assert_eq!(exit_status("killed", None), 137);
        assert_eq!(exit_status("killed", Some(143)), 143);
    }
}
