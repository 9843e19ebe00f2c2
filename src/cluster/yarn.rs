//! YARN's ResourceManagers, asked over their REST API: which applications there are, that one be killed, and what a driver wrote.
//!
//! Of several ResourceManagers the one that answers is asked first the next time: one on standby sends elsewhere. Answers are bounded in
//! bytes and in time. Callers are known by name (`user.name`), or by their Kerberos ticket where a server asks for it.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::application::{Application, Links, State};
use super::negotiate::{Failed, Negotiate};
use super::{driver_of, hadoop_conf, tag_of};
use crate::config;

/// States of applications that have not ended.
const LIVE: &str = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING";
/// Kills and logs that are asked for at the same time; more wait.
const AT_ONCE: usize = 4;

/// Which applications are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// Those of these drivers, whatever has become of them.
    Drivers(Vec<Uuid>),
    /// All with this tag that have not ended.
    Live(String),
}

/// The ResourceManagers of one cluster.
#[derive(Debug)]
pub(super) struct Yarn {
    http: Client,
    negotiate: Negotiate,
    managers: Vec<Url>,
    /// Which of them answered last.
    active: AtomicUsize,
    user: String,
    /// The web services of the server that has aggregated logs.
    log_server: Option<String>,
    max_answer: usize,
    turns: Semaphore,
}

/// What a request was answered.
enum Answer {
    /// This.
    Is(Response),
    /// It is not the one that is active; the sentence says so.
    Elsewhere(String),
}

impl Yarn {
    /// Finds the ResourceManagers; nobody is asked yet.
    ///
    /// # Errors
    /// Neither the configuration nor Hadoop's own names any.
    pub(super) fn open(
        settings: &config::Cluster,
        negotiate: Negotiate,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let named = &settings.yarn.resource_manager;
        let addresses = match named.is_empty() {
            true => hadoop_conf::resource_managers(&variable)?,
            false => named.clone(),
        };
        let parse = |address: &String| {
            let url = Url::parse(address).ok().filter(Url::has_host);
            url.with_context(|| format!("{address:?} is no address of a ResourceManager"))
        };
        let log_server = match settings.yarn.log_server.as_str() {
            "" => hadoop_conf::property(&variable, "yarn.log.server.web-service.url"),
            named => Some(named.to_owned()),
        };
        let user = Some(settings.yarn.user.clone()).filter(|user| !user.is_empty());
        let user = user
            .or_else(|| variable("HADOOP_USER_NAME"))
            .or_else(|| {
                nix::unistd::User::from_uid(nix::unistd::geteuid())
                    .ok()
                    .flatten()
                    .map(|user| user.name)
            })
            .unwrap_or_default();
        Ok(Self {
            http: Client::builder()
                .redirect(Policy::none())
                .timeout(settings.timeout.get())
                .pool_idle_timeout(Duration::from_secs(30))
                .build()
                .context("the HTTP client can't be made")?,
            negotiate,
            managers: addresses.iter().map(parse).collect::<anyhow::Result<_>>()?,
            active: AtomicUsize::new(0),
            user,
            log_server: log_server.map(|url| url.trim_end_matches('/').to_owned()),
            max_answer: settings.max_answer.len(),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// The applications that are asked for, each with its driver.
    ///
    /// # Errors
    /// One sentence: none of the ResourceManagers answers, or it makes no sense.
    pub(super) async fn applications(&self, query: &Query) -> Result<Vec<(Uuid, Application)>, String> {
        let (tags, states) = match query {
            Query::Drivers(drivers) => {
                let tags: Vec<String> = drivers.iter().copied().map(tag_of).collect();
                (tags.join(","), None)
            }
            Query::Live(tag) => (tag.clone(), Some(LIVE)),
        };
        let answer = self
            .ask(
                Method::GET,
                &["apps"],
                |url| {
                    let mut pairs = url.query_pairs_mut();
                    pairs.append_pair("applicationTags", &tags);
                    pairs.append_pair("deSelects", "resourceRequests");
                    if let Some(states) = states {
                        pairs.append_pair("states", states);
                    }
                },
                |request| request,
            )
            .await?;
        let body = self.read(answer, self.max_answer).await?;
        let found: Found<'_> = serde_json::from_slice(&body)
            .map_err(|error| format!("the ResourceManager's answer can't be read: {error}"))?;
        let known = found.apps.0.into_iter();
        Ok(known
            .filter_map(|app| Some((driver_of(&app.tags)?, app.into())))
            .collect())
    }

    /// Has an application killed.
    ///
    /// # Errors
    /// As of [`Yarn::applications`].
    pub(super) async fn kill(&self, id: &str) -> Result<(), String> {
        let _turn = self.turns.acquire().await;
        let put = |request: RequestBuilder| {
            request
                .header(CONTENT_TYPE, "application/json")
                .body(r#"{"state":"KILLED"}"#)
        };
        self.ask(Method::PUT, &["apps", id, "state"], |_| {}, put)
            .await
            .map(drop)
    }

    /// The end of what a driver wrote, from its node, else from the log server.
    ///
    /// # Errors
    /// As of [`Yarn::applications`]; or neither has it.
    pub(super) async fn driver_log(
        &self,
        application: &Application,
        most: u64,
    ) -> Result<[Vec<u8>; 2], String> {
        let _turn = self.turns.acquire().await;
        let links = &application.links;
        let container = links
            .driver_log
            .as_deref()
            .and_then(|url| url.split('/').find(|part| part.starts_with("container_")));
        let (Some(container), Some(node)) = (container, &links.node) else {
            return Err("it had no driver".to_owned());
        };
        let scheme = links
            .driver_log
            .as_deref()
            .and_then(|url| url.split_once("://"))
            .map_or("http", |(scheme, _)| scheme);
        let nodes = format!("{scheme}://{node}/ws/v1/node");
        let why = match self.container_log(&nodes, container, most).await {
            Err(why) => format!("{node} {why}"),
            found => return found,
        };
        // A node gives its logs away once an application has ended, where they are aggregated.
        let Some(server) = &self.log_server else {
            return Err(why);
        };
        let found = self.container_log(server, container, most).await;
        found.map_err(|also| format!("{why}; the log server at {server} {also}"))
    }

    /// The end of what a container wrote, as web services of YARN's have it.
    async fn container_log(
        &self,
        services: &str,
        container: &str,
        most: u64,
    ) -> Result<[Vec<u8>; 2], String> {
        let mut streams = [Vec::new(), Vec::new()];
        for (stream, name) in streams.iter_mut().zip(["stdout", "stderr"]) {
            let address = format!("{services}/containerlogs/{container}/{name}");
            let mut url = Url::parse(&address).map_err(|_| "has no address".to_owned())?;
            url.query_pairs_mut()
                .append_pair("size", &format!("-{most}"))
                .append_pair("user.name", &self.user);
            let request = self.http.get(url).build().map_err(told)?;
            let answer = self
                .negotiate
                .send(&self.http, request)
                .await
                .map_err(|failed| match failed {
                    Failed::Unreached(error) => format!("does not answer: {}", told(error)),
                    Failed::Refused(why) => why,
                })?;
            if !answer.status().is_success() {
                return Err(format!("answers {}", answer.status()));
            }
            // Around the log there are a few lines of the node's own.
            let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(4096);
            *stream = contents(&self.read(answer, most).await?).to_vec();
        }
        Ok(streams)
    }

    /// Asks the ResourceManager that answered last, then the others.
    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: impl Fn(&mut Url),
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, String> {
        let first = self.active.load(Ordering::Relaxed);
        let mut why = String::new();
        for at in (0..self.managers.len()).map(|step| (first + step) % self.managers.len()) {
            let mut url = self.managers[at].clone();
            let shown = url.to_string();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments
                    .pop_if_empty()
                    .extend(["ws", "v1", "cluster"])
                    .extend(path);
            }
            query(&mut url);
            if !self.user.is_empty() {
                url.query_pairs_mut().append_pair("user.name", &self.user);
            }
            let request = self
                .http
                .request(method.clone(), url)
                .header("Accept", "application/json");
            match self.answer(finish(request)).await {
                Ok(Answer::Is(response)) => {
                    self.active.store(at, Ordering::Relaxed);
                    return Ok(response);
                }
                Ok(Answer::Elsewhere(reason)) => why = format!("the ResourceManager at {shown} {reason}"),
                Err(reason) => return Err(format!("the ResourceManager at {shown} {reason}")),
            }
        }
        Err(why)
    }

    /// Sends a request. An error is final, whichever ResourceManager is asked.
    async fn answer(&self, request: RequestBuilder) -> Result<Answer, String> {
        let request = request.build().map_err(told)?;
        let response = match self.negotiate.send(&self.http, request).await {
            Err(Failed::Unreached(error)) => {
                return Ok(Answer::Elsewhere(format!("does not answer: {}", told(error))));
            }
            Err(Failed::Refused(why)) => return Err(why),
            Ok(response) => response,
        };
        let status = response.status();
        let is_json = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                Err("asks for authentication that is neither simple nor Kerberos (401)".to_owned())
            }
            _ if status.is_redirection() => Ok(Answer::Elsewhere("is on standby".to_owned())),
            _ if status.is_server_error() => Ok(Answer::Elsewhere(format!("answers {status}"))),
            _ if !status.is_success() => Err(format!("refuses: {status}")),
            // One on standby that knows no active one answers with a page.
            _ if !is_json => Ok(Answer::Elsewhere(
                "answers with no JSON: it is on standby, or no ResourceManager".to_owned(),
            )),
            _ => Ok(Answer::Is(response)),
        }
    }

    async fn read(&self, mut answer: Response, most: usize) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > most {
                return Err(format!(
                    "the answer has more than {most} bytes (cluster.max_answer)"
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn told(error: reqwest::Error) -> String {
    // The address has the tags, and the error itself hardly says why.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// What a container wrote, without what its node puts around it.
fn contents(answer: &[u8]) -> &[u8] {
    const BEGIN: &[u8] = b"LogContents:\n";
    const END: &[u8] = b"\nEnd of LogType:";
    let find = |text: &[u8], mark: &[u8]| text.windows(mark.len()).position(|window| window == mark);
    let Some(begin) = find(answer, BEGIN).filter(|begin| *begin < 4096) else {
        return answer;
    };
    let inner = &answer[begin + BEGIN.len()..];
    let tail = inner.len().saturating_sub(1024);
    find(&inner[tail..], END).map_or(inner, |end| &inner[..tail + end])
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    apps: Apps<'a>,
}

/// `{"app": [...]}`; where there is none, null or an empty text.
struct Apps<'a>(Vec<App<'a>>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct App<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    final_status: Cow<'a, str>,
    #[serde(borrow, default)]
    tracking_url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    diagnostics: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "applicationTags")]
    tags: Cow<'a, str>,
    #[serde(borrow, default)]
    am_container_logs: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    am_host_http_address: Option<Cow<'a, str>>,
}

impl From<App<'_>> for Application {
    fn from(app: App<'_>) -> Self {
        let link = |url: Option<Cow<'_, str>>| {
            url.map(Cow::into_owned)
                .filter(|url| url.starts_with("http://") || url.starts_with("https://"))
        };
        Self {
            state: State::of_yarn(&app.state, &app.final_status),
            is_finished: app.state == "FINISHED",
            id: app.id.into_owned(),
            user: app.user.into_owned(),
            links: Links {
                driver_log: link(app.am_container_logs),
                ui: link(app.tracking_url),
                node: app
                    .am_host_http_address
                    .map(Cow::into_owned)
                    .filter(|node| !node.is_empty()),
            },
            diagnostics: Self::shorten(app.diagnostics.as_deref().unwrap_or_default()),
            ..Self::default()
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Apps<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Apps<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("applications")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Apps(Vec::new()))
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Apps(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut apps = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "app" {
                        apps = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Apps(apps))
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_resource_manager_says_is_read() {
        let none = [
            r#"{"apps":null}"#,
            r#"{"apps":""}"#,
            r#"{"apps":{}}"#,
            r#"{"apps":{"app":[]}}"#,
        ];
        for text in none {
            let found: Found<'_> = serde_json::from_str(text).unwrap();
            assert!(found.apps.0.is_empty());
        }
        let text = r#"{"apps":{"app":[{"id":"application_1_0001","user":"ada","state":"FINISHED","finalStatus":"FAILED",
            "trackingUrl":"javascript:x","diagnostics":"a \"b\"","applicationTags":"t","amContainerLogs":"http://n:1/node/containerlogs/container_1/ada",
            "amHostHttpAddress":"n:1","more":{"x":[1]}}]}}"#;
        let found: Found<'_> = serde_json::from_str(text).unwrap();
        let app: Application = found.apps.0.into_iter().next().unwrap().into();
        assert_eq!(
            (app.id.as_str(), app.user.as_str()),
            ("application_1_0001", "ada")
        );
        assert_eq!(app.links.ui, None);
        assert_eq!(app.diagnostics, "a \"b\"");
        assert!(app.outcome().is_some());
        assert!(serde_json::from_str::<Found<'_>>(r#"{"apps":{"app":[{}]}}"#).is_err());
    }

    #[test]
    fn a_log_is_taken_out_of_what_its_node_says() {
        let text = b"Container: c\n===\nLogType:stdout\nLogLength:3\nLogContents:\none\ntwo\nEnd of LogType:stdout.\n***\n\n";
        assert_eq!(contents(text), b"one\ntwo");
        assert_eq!(contents(b"bare"), b"bare");
        assert_eq!(contents(b"LogContents:\n"), b"");
    }
}
