//! What is asked of the API server: pods of one namespace, listed, watched, deleted, and their logs; and Secrets with what drivers are given.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{AsyncRead, FutureExt as _, Stream, StreamExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::params::{DeleteParams, ListParams, PostParams, Preconditions, WatchParams};
use kube::core::request::Request;
use kube::core::subresource::LogParams;
use kube::core::{Status, WatchEvent};
use kube::{Client, Error};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::pod::{Metadata, Pod};
use crate::cluster::Refused;
use crate::cluster::application::Place;
use crate::config::Config;

/// The most pods of one answer; more come in further ones.
const PAGE: u32 = 500;

/// What a watch says.
pub(super) enum Event {
    /// A pod is so now.
    Is(Pod),
    /// A pod has been deleted; it was so at last.
    Gone(Pod),
    /// From here on a later watch may go on.
    Version(String),
    /// What the watch was to go on from is known no more.
    TooOld,
}

/// The pods of one namespace.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    pods: String,
    secrets: String,
    address: String,
    pub timeout: Duration,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Api").field(&self.address).finish()
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Found {
    metadata: FoundMetadata,
    items: Vec<Pod>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FoundMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    more: String,
}

impl Api {
    /// The API server is the one of `spark.master`; who asks it is told by a file, or is the account of the pod that the server runs in.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let settings = &config.cluster.kubernetes;
        let address = config
            .spark
            .kubernetes_api()
            .context("spark.master is no k8s:// address")?;
        let file = &settings.kubeconfig;
        let kubeconfig = match file.as_os_str().is_empty() {
            false => Some(
                Kubeconfig::read_from(file)
                    .with_context(|| format!("cluster.kubernetes.kubeconfig = {}", file.display()))?,
            ),
            true if std::env::var_os("KUBECONFIG").is_some() => {
                Kubeconfig::from_env().context("KUBECONFIG")?
            }
            true => None,
        };
        let mut asked = match kubeconfig {
            None => kube::Config::incluster().context(
                "who asks Kubernetes is not known: the server runs in no pod with a service account; set \
                 cluster.kubernetes.kubeconfig or KUBECONFIG",
            )?,
            Some(kubeconfig) => {
                let context = Some(settings.context.clone()).filter(|context| !context.is_empty());
                let options = KubeConfigOptions {
                    context,
                    ..KubeConfigOptions::default()
                };
                // It reads files alone, and never waits.
                kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                    .now_or_never()
                    .context("the kubeconfig can't be read at once")?
                    .context("the kubeconfig is of no use")?
            }
        };
        asked.cluster_url = address
            .parse()
            .with_context(|| format!("spark.master: {address:?} is no address of an API server"))?;
        asked.connect_timeout = Some(config.cluster.timeout.get());
        // Watches are silent for long, and other answers have their own limit.
        asked.read_timeout = None;
        asked.default_retry = false;
        asked.proxy_url = None;
        let client = Client::try_from(asked).context("the API server of Kubernetes can't be asked")?;
        let namespace = config.kubernetes_namespace();
        Ok(Self {
            client,
            pods: format!("/api/v1/namespaces/{namespace}/pods"),
            secrets: format!("/api/v1/namespaces/{namespace}/secrets"),
            address,
            timeout: config.cluster.timeout.get(),
        })
    }

    /// A sentence about the API server.
    pub(super) fn told(&self, what: &str) -> String {
        format!("the Kubernetes API server at {} {what}", self.address)
    }

    fn failed(&self, error: Error) -> String {
        match error {
            Error::Api(status) => {
                let Status { message, code, .. } = *status;
                let said = message.trim_end_matches('.');
                match code {
                    401 => self.told(&format!("does not know who asks (401 {said})")),
                    403 => self.told(&format!(
                        "refuses: {said} (docs/clusters.md has the role that the server needs)"
                    )),
                    _ => self.told(&format!("answers {code}: {said}")),
                }
            }
            error => {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(inner) = cause {
                    let inner_text = inner.to_string();
                    if !text.contains(&inner_text) {
                        text = format!("{text}: {inner_text}");
                    }
                    cause = inner.source();
                }
                self.told(&format!("does not answer: {text}"))
            }
        }
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => Err(self.told(&format!(
                "does not answer within {} (cluster.timeout)",
                humantime::format_duration(self.timeout)
            ))),
        }
    }

    /// The pods with these labels, and from where a watch of them may go on.
    pub(super) async fn list(&self, labels: &str) -> Result<(Vec<Pod>, String), String> {
        self.all(&self.pods, labels, false).await
    }

    /// All below a path that have these labels, page by page, and the version of the list; without more than their metadata where `is_bare`.
    async fn all(&self, path: &str, labels: &str, is_bare: bool) -> Result<(Vec<Pod>, String), String> {
        let mut items = Vec::new();
        let mut params = ListParams::default().labels(labels).limit(PAGE);
        loop {
            let request = match is_bare {
                true => Request::new(path).list_metadata(&params),
                false => Request::new(path).list(&params),
            };
            let request = request.map_err(|error| error.to_string())?;
            let text = self.within(self.client.request_text(request)).await?;
            let found: Found = serde_json::from_str(&text)
                .map_err(|error| self.told(&format!("can't be understood: {error}")))?;
            items.extend(found.items);
            if found.metadata.more.is_empty() {
                return Ok((items, found.metadata.resource_version));
            }
            params = params.continue_token(&found.metadata.more);
        }
    }

    /// What becomes of the pods with these labels, for so long.
    pub(super) async fn watch(
        &self,
        labels: &str,
        version: &str,
        lasts: Duration,
    ) -> Result<impl Stream<Item = Result<Event, String>> + use<>, String> {
        let seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX);
        let params = WatchParams::default().labels(labels).timeout(seconds);
        let request = Request::new(&self.pods)
            .watch(&params, version)
            .map_err(|error| error.to_string())?;
        let begun = self.within(self.client.request_events::<Pod>(request)).await;
        let api = self.clone();
        Ok(begun?.map(move |event: Result<WatchEvent<Pod>, Error>| api.event(event)))
    }

    fn event(&self, event: Result<WatchEvent<Pod>, Error>) -> Result<Event, String> {
        Ok(match event {
            Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => Event::Is(pod),
            Ok(WatchEvent::Deleted(pod)) => Event::Gone(pod),
            Ok(WatchEvent::Bookmark(mark)) => Event::Version(mark.metadata.resource_version),
            Ok(WatchEvent::Error(status)) if status.code == 410 => Event::TooOld,
            Ok(WatchEvent::Error(status)) => return Err(self.failed(Error::Api(status))),
            Err(Error::Api(status)) if status.code == 410 => Event::TooOld,
            Err(error) => return Err(self.failed(error)),
        })
    }

    /// Has a pod deleted, within so long. One that is not there any more is no error.
    pub(super) async fn delete(&self, place: &Place, grace: Duration) -> Result<(), String> {
        let params = DeleteParams {
            // With none the API server would forget the pod before it has ended.
            grace_period_seconds: Some(u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1)),
            preconditions: Some(Preconditions {
                resource_version: None,
                uid: Some(place.uid.clone()),
            }),
            ..DeleteParams::default()
        };
        // Gone, or another one has its name.
        self.remove(&self.pods, &place.pod, &params, &[404, 409]).await
    }

    /// Has what is called so below a path deleted. Answers of these codes say that it is not there any more, which is no error.
    async fn remove(
        &self,
        path: &str,
        name: &str,
        params: &DeleteParams,
        gone: &[u16],
    ) -> Result<(), String> {
        let request = Request::new(path)
            .delete(name, params)
            .map_err(|error| error.to_string())?;
        match timeout(self.timeout, self.client.request_text(request)).await {
            Ok(Err(Error::Api(status))) if gone.contains(&status.code) => Ok(()),
            Ok(answer) => answer.map(drop).map_err(|error| self.failed(error)),
            Err(_) => Err(self.told("does not answer")),
        }
    }

    /// Makes a Secret. One of this name that is there already is no error.
    pub(super) async fn create_secret(&self, secret: &Value) -> Result<(), Refused> {
        let request = serde_json::to_vec(secret)
            .map_err(|error| error.to_string())
            .and_then(|body| {
                let request = Request::new(&self.secrets).create(&PostParams::default(), body);
                request.map_err(|error| error.to_string())
            });
        let request = request.map_err(|why| Refused { why, is_final: true })?;
        match timeout(self.timeout, self.client.request_text(request)).await {
            Ok(Err(Error::Api(status))) if status.code == 409 => Ok(()),
            Ok(Err(error)) => Err(Refused {
                is_final: matches!(&error, Error::Api(status) if (400..429).contains(&status.code)),
                why: self.failed(error),
            }),
            Ok(Ok(_)) => Ok(()),
            Err(_) => Err(Refused {
                why: self.told("does not answer"),
                is_final: false,
            }),
        }
    }

    /// Has a Secret deleted. One that is not there is no error.
    pub(super) async fn delete_secret(&self, name: &str) -> Result<(), String> {
        self.remove(&self.secrets, name, &DeleteParams::default(), &[404])
            .await
    }

    /// What the Secrets with these labels are called, and their labels: nothing of what they hold is asked for.
    pub(super) async fn secrets(&self, labels: &str) -> Result<Vec<Metadata>, String> {
        let (found, _) = self.all(&self.secrets, labels, true).await?;
        Ok(found.into_iter().map(|item| item.metadata).collect())
    }

    /// A pod's log with the time of each line, from those on that were written in the second of `after`, else from the first that there is;
    /// where it is followed, to its end, else to where it has come.
    pub(super) async fn log(
        &self,
        place: &Place,
        after: Option<&str>,
        follow: bool,
    ) -> Result<Pin<Box<dyn AsyncRead + Send>>, String> {
        let params = LogParams {
            container: place.container.clone(),
            follow,
            since_time: after.and_then(|after| after.parse().ok()),
            timestamps: true,
            ..LogParams::default()
        };
        let request = Request::new(&self.pods)
            .logs(&place.pod, &params)
            .map_err(|error| error.to_string())?;
        let answer = self.within(self.client.request_stream(request)).await?;
        Ok(Box::pin(answer))
    }
}
