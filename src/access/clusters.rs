//! Who may start drivers in a cluster that has a name: `clusters.NAME.users` and `clusters.NAME.groups`.

use super::caller::Caller;
use crate::config::Config;

/// A user may not start anything in a cluster: 403 with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{user} may not use the cluster {cluster:?}: neither the name nor a group of that user is on its list (clusters.{cluster}.users, clusters.{cluster}.groups)."
)]
pub struct NotInCluster {
    user: String,
    cluster: String,
}

/// Whether this user, in whose name a driver would run, may start it in this cluster. Without a cluster it is the default one, which all may use.
///
/// # Errors
/// Not both lists of the cluster are empty, and the user is on neither.
pub fn may_use_cluster(config: &Config, cluster: Option<&str>, whose: &Caller) -> Result<(), NotInCluster> {
    let Some((name, lists)) = cluster.and_then(|name| config.clusters.get_key_value(name)) else {
        return Ok(());
    };
    let user = whose.user.as_deref();
    let is_listed = lists.users.iter().any(|listed| Some(listed.as_str()) == user)
        || lists.groups.iter().any(|group| whose.is_in(group));
    if (lists.users.is_empty() && lists.groups.is_empty()) || is_listed {
        return Ok(());
    }
    Err(NotInCluster {
        user: user.unwrap_or("A caller without a name").to_owned(),
        cluster: name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_who() {
        let text = "[clusters.big]\nmaster = 'yarn'\nusers = ['ada']\ngroups = ['ops']\n[clusters.all]\nmaster = 'yarn'\n";
        let config: Config = toml::from_str(text).unwrap();
        let caller = |user: &str, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            Caller::named(user, groups, &config.access)
        };
        let big = |whose: &Caller| may_use_cluster(&config, Some("big"), whose);
        assert!(big(&caller("ada", &[])).is_ok());
        assert!(big(&caller("bob", &["ops"])).is_ok());
        assert!(big(&Caller::anonymous()).is_err());
        let refused = big(&caller("bob", &["ada"])).unwrap_err().to_string();
        assert!(
            refused.starts_with("bob may not use the cluster \"big\""),
            "{refused}"
        );
        for cluster in [None, Some("all")] {
            assert!(may_use_cluster(&config, cluster, &Caller::anonymous()).is_ok());
        }
    }
}
