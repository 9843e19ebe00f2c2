//! Where a browser's state change may come from. A browser says it in `Origin` and `Sec-Fetch-Site`, which pages can't
//! forge; other programs send neither.

use super::host::{same_host, split_host};

/// Whether a request that changes something may come from there; else the answer is 403, always.
///
/// Without both headers no browser sent it, and it may. `Sec-Fetch-Site` must be `same-origin` or `none`, or `same-site`
/// with an origin that may. `Origin` must be that of the `Host` header, name and port, or have a name of `hosts`
/// (`server.hosts`, where a proxy changes `Host`) with its scheme's own port or the `Host` header's. Names are compared
/// whole. An origin of `cors` (`server.cors`) may come from any site.
#[must_use]
pub fn origin_allowed(
    origin: Option<&str>,
    sec_fetch_site: Option<&str>,
    host: Option<&str>,
    hosts: &[String],
    cors: &[String],
) -> bool {
    if cors_allowed(origin, cors) {
        return true;
    }
    let origin_fits = origin.map(|origin| fits(origin, host, hosts));
    match sec_fetch_site {
        None | Some("same-origin" | "none") => origin_fits.unwrap_or(true),
        Some("same-site") => origin_fits.unwrap_or(false),
        Some(_) => false,
    }
}

/// Whether pages of this origin may read answers: it is one of `server.cors`, byte for byte as browsers write it.
#[must_use]
pub fn cors_allowed(origin: Option<&str>, cors: &[String]) -> bool {
    origin.is_some_and(|origin| cors.iter().any(|listed| listed == origin))
}

fn fits(origin: &str, host: Option<&str>, hosts: &[String]) -> bool {
    let (standard, authority) = match origin.split_once("://") {
        Some(("http", authority)) => (80, authority),
        Some(("https", authority)) => (443, authority),
        _ => return false,
    };
    // Browsers write a port or no colon.
    let Some((name, port)) = split_host(authority).filter(|_| !authority.ends_with(':')) else {
        return false;
    };
    let port = port.unwrap_or(standard);
    let asked = host.and_then(split_host);
    if let Some((asked_name, asked_port)) = &asked
        && *asked_name == name
        && asked_port.unwrap_or(standard) == port
    {
        return true;
    }
    let asked_port = asked.and_then(|(_, port)| port);
    hosts.iter().any(|known| same_host(known, &name)) && (port == standard || Some(port) == asked_port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "spark.example.com:8998";

    fn allowed(origin: &str) -> bool {
        origin_allowed(
            Some(origin),
            None,
            Some(HOST),
            &["lab.example.org".to_owned()],
            &[],
        )
    }

    #[test]
    fn who_may() {
        for origin in [
            "http://spark.example.com:8998",
            "https://spark.example.com:8998",
            "http://SPARK.example.com:8998",
            "https://lab.example.org",
            "http://lab.example.org",
            "https://lab.example.org:443",
            "https://lab.example.org:8998",
        ] {
            assert!(allowed(origin), "{origin}");
        }
        assert!(origin_allowed(None, None, Some(HOST), &[], &[]));
        assert!(origin_allowed(Some("https://x"), None, Some("x"), &[], &[]));
        assert!(origin_allowed(Some("https://x"), None, Some("x:443"), &[], &[]));
        assert!(origin_allowed(
            Some("http://[::1]:8998"),
            None,
            Some("[::1]:8998"),
            &[],
            &[]
        ));
        assert!(!origin_allowed(Some("http://x"), None, None, &[], &[]));
    }

    #[test]
    fn look_alikes_may_not() {
        for origin in [
            "http://spark.example.com.evil.com:8998",
            "http://evil.com",
            "http://evilspark.example.com:8998",
            "http://spark.example.com",
            "http://spark.example.com:89",
            "http://spark.example.com:89980",
            "http://spark.example.com:08998x",
            "http://spark.example.com:8998.evil.com",
            "http://spark.example.com:8998@evil.com",
            "http://spark.example.com%2eevil.com:8998",
            "http://sparkxexample.com:8998",
            "http://spark-example.com:8998",
            "http://example.com:8998",
            "http://.example.com:8998",
            "http://a.spark.example.com:8998",
            "http://*:8998",
            "http://spark.example.com:8998/",
            "http://spark.example.com:8998/x",
            "http://spark.example.com:8998?x",
            "http://spark.example.com:8998#x",
            "http://spark.example.com:8998 http://evil.com",
            " http://spark.example.com:8998",
            "http://spark.example.com:8998,http://evil.com",
            "http://spark.example.com:8998\0",
            "http://spark.example.com\0.evil.com:8998",
            "null",
            "",
            "*",
            "http://",
            "http:",
            "//spark.example.com:8998",
            "spark.example.com:8998",
            "ftp://spark.example.com:8998",
            "file://",
            "HTTP://spark.example.com:8998",
            "chrome-extension://spark.example.com:8998",
            "javascript://spark.example.com:8998",
            "http://sрark.example.com:8998",
            "http://ｓpark.example.com:8998",
            "http://spark。example。com:8998",
            "http://user@spark.example.com:8998",
            "http://spark.example.com:",
            "http://[::1]:8998",
            "http://spark..example.com:8998",
            "http://spark.example.com..:8998",
            "http:///spark.example.com:8998",
            "http:\\\\spark.example.com:8998",
            "http://evil.com\\@spark.example.com:8998",
            "https://lab.example.org:3000",
            "https://lab.example.org.evil.com",
            "https://xlab.example.org",
            "https://example.org",
            "https://lab.example.org@evil.com",
            "https://lab.example.orgx",
            "http://localhost:8998",
            "http://127.0.0.1:8998",
        ] {
            assert!(!allowed(origin), "{origin:?}");
        }
    }

    #[test]
    fn what_the_browser_says_of_the_site() {
        let own = Some("http://spark.example.com:8998");
        let may = |origin, site| origin_allowed(origin, Some(site), Some(HOST), &[], &[]);
        assert!(
            may(own, "same-origin") && may(None, "same-origin") && may(None, "none") && may(own, "same-site")
        );
        assert!(!may(None, "same-site"));
        for site in ["cross-site", "Same-Origin", "", "other", "same-origin, none"] {
            assert!(!may(own, site) && !may(None, site), "{site}");
        }
        assert!(!may(Some("http://evil.com"), "same-origin"));
    }

    #[test]
    fn a_listed_origin_is_compared_byte_by_byte() {
        let cors = ["https://lab.example.org".to_owned()];
        let site = Some("cross-site");
        let may = |origin| {
            let listed = cors_allowed(Some(origin), &cors);
            assert_eq!(origin_allowed(Some(origin), site, Some(HOST), &[], &cors), listed);
            listed
        };
        assert!(may("https://lab.example.org"));
        for other in [
            "http://lab.example.org",
            "https://lab.example.org:443",
            "https://LAB.example.org",
            "https://lab.example.org.",
            "https://lab.example.org.evil.com",
            "https://evil.lab.example.org",
            "null",
            "*",
            "",
        ] {
            assert!(!may(other), "{other}");
        }
        assert!(!cors_allowed(None, &cors) && !cors_allowed(Some("*"), &[]));
    }

    proptest! {
        /// Whatever a browser, or something else, says of where it is: nothing but a page of this very host may.
        #[test]
        fn any_origin_is_judged(origin in prop_oneof![".*", "(http|https)://.{0,20}", "https?://\\[?[0-9a-f:.]{0,12}\\]?(:[0-9]{0,6})?"],
                                site in prop::option::of(".*"), host in prop::option::of(prop_oneof![".*", "\\[?[0-9a-f:.]{0,12}\\]?(:.{0,6})?"])) {
            let fits = origin_allowed(Some(&origin), site.as_deref(), host.as_deref(), &[], &[]);
            if fits {
                let name = |text: &str| split_host(text).map(|(name, _)| name);
                let authority = origin.split_once("://").map(|(_, authority)| authority);
                prop_assert_eq!(authority.and_then(name), host.as_deref().and_then(name));
            }
        }

        #[test]
        fn only_whole_names_fit(before in "[a-z.@:/]{0,6}", after in "[a-z.@:/0-9#?]{0,6}") {
            prop_assume!(!(before.is_empty() && after.is_empty()));
            let origin = format!("http://{before}spark.example.com:8998{after}");
            // Zeros before a port, and userinfo, never reach here: `before` has no digits, and `@` is refused.
            prop_assert!(!allowed(&origin), "{}", origin);
        }
    }
}
