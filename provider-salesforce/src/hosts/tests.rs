use grantry::integration::Options;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Config;

fn config(options: serde_json::Value) -> Config {
    let options: Options = serde_json::from_value(options).unwrap();
    Config::read(Environment::PRODUCTION, &options, true).unwrap()
}

const ACME: &str = "https://acme.my.salesforce.com";

#[test]
fn instance_urls() {
    let long = format!("https://{}.my.salesforce.com", "a".repeat(10_000));
    let rows: &[(&str, &str, Result<&str, &str>)] = &[
        ("J01", ACME, Ok(ACME)),
        ("J02", "https://acme.my.salesforce.com/", Ok(ACME)),
        ("J03", "http://acme.my.salesforce.com", Err("scheme")),
        ("J04", "https://acme.my.salesforce.com.evil.test", Err("host")),
        ("J05", "https://evilsalesforce.com", Err("host")),
        ("J05", "https://xsalesforce.com", Err("host")),
        ("J05", "https://evilmy.salesforce.com", Err("host")),
        ("J05", "https://acme.evilmy.salesforce.com", Err("host")),
        ("J06", "https://user:pw@acme.my.salesforce.com", Err("userinfo")),
        ("J06", "https://acme.my.salesforce.com@evil.test", Err("userinfo")),
        (
            "J06",
            "https://evil.test\\@acme.my.salesforce.com",
            Err("userinfo"),
        ),
        ("J07", "https://acme.my.salesforce.com:8443", Err("port")),
        ("J07", "https://acme.my.salesforce.com:", Err("port")),
        ("J07", "https://acme.my.salesforce.com:+443", Err("port")),
        ("J07", "https://acme.my.salesforce.com:99999", Err("port")),
        ("", "https://acme.my.salesforce.com:443", Ok(ACME)),
        ("J08", "https://acme.my.salesforce.com/services", Err("path")),
        ("J08", "https://acme.my.salesforce.com//", Err("path")),
        ("J08", "https://acme.my.salesforce.com?x", Err("path")),
        ("J08", "https://acme.my.salesforce.com/?x", Err("path")),
        ("J08", "https://acme.my.salesforce.com#x", Err("path")),
        ("J09", "https://127.0.0.1", Err("ip")),
        ("J09", "https://2130706433", Err("ip")),
        ("J09", "https://0x7f.1", Err("ip")),
        ("J09", "https://0x7f000001", Err("ip")),
        ("J09", "https://127.0x", Err("ip")),
        ("J09", "https://017700000001", Err("ip")),
        ("J10", "https://[::ffff:169.254.169.254]", Err("ip")),
        ("J10", "https://[::1]", Err("ip")),
        ("J10", "https://[v1.x]", Err("ip")),
        ("J10", "https://[::1", Err("ip")),
        ("J10", "https://169.254.169.254.", Err("ip")),
        ("J11", "https://ⓢalesforce.com", Err("not_ascii")),
        ("J11", "https://acme\u{3002}my.salesforce.com", Err("not_ascii")),
        ("J11", "https://acme\u{ad}.my.salesforce.com", Err("not_ascii")),
        ("J11", "https://xn--acme-0ra.my.salesforce.com", Err("not_ascii")),
        ("J12", "https://a..salesforce.com", Err("host")),
        ("J12", "https://.salesforce.com", Err("host")),
        ("J12", "https://.my.salesforce.com", Err("host")),
        ("J12", "https://a..my.salesforce.com", Err("host")),
        ("J13", "https://ACME.My.Salesforce.com", Ok(ACME)),
        ("J13", "HTTPS://acme.my.salesforce.com", Ok(ACME)),
        ("J14", "https://acme.my.salesforce.com.", Err("trailing_dot")),
        ("J15", "", Err("scheme")),
        ("J15", "https://", Err("host")),
        ("J16", &long, Err("length")),
        (
            "",
            "https://acme--uat.sandbox.my.salesforce.com",
            Ok("https://acme--uat.sandbox.my.salesforce.com"),
        ),
        (
            "",
            "https://acme-dev-ed.develop.my.salesforce.com",
            Ok("https://acme-dev-ed.develop.my.salesforce.com"),
        ),
        (
            "",
            "https://acme.my.salesforce.mil",
            Ok("https://acme.my.salesforce.mil"),
        ),
        (
            "",
            "https://acme.my.sfcrmproducts.cn",
            Ok("https://acme.my.sfcrmproducts.cn"),
        ),
        ("", "https://my.salesforce.com", Err("host")),
        ("", "https://login.salesforce.com", Err("host")),
        ("", "https://na44.salesforce.com", Err("host")),
        ("", "https://acme.my-salesforce.com", Err("host")),
        ("", "https://acme.lightning.force.com", Err("host")),
        ("", "https://acme.my.site.com", Err("host")),
        ("", "https://acme.my.salesforce-setup.com", Err("host")),
        ("", "https://evilcrmforce.mil", Err("host")),
        ("", "https://api.salesforce.com", Err("host")),
        ("", "acme.my.salesforce.com", Err("scheme")),
        ("", "//acme.my.salesforce.com", Err("scheme")),
        ("", "ftp://acme.my.salesforce.com", Err("scheme")),
        ("", " https://acme.my.salesforce.com", Err("scheme")),
        ("", "https://acme.my.salesforce.com ", Err("host")),
        ("", "https://acme%2emy.salesforce.com", Err("host")),
        ("", "https://ac\tme.my.salesforce.com", Err("host")),
        ("", "https://acme_x.my.salesforce.com", Err("host")),
        ("", "https://-acme.my.salesforce.com", Err("host")),
        ("", "https:/\\acme.my.salesforce.com", Err("scheme")),
        ("", "https://localhost", Err("host")),
        ("", "http://127.0.0.1:9000", Err("ip")),
    ];
    let config = config(json!({}));
    for (row, url, expected) in rows {
        let found = config.instance(url);
        assert_eq!(found.as_deref().map_err(|e| e.why), *expected, "{row} {url:.80}");
    }
}

#[test]
fn legacy_hosts_are_a_switch() {
    let on = config(json!({"legacyInstanceHosts": true}));
    for host in [
        "na44.salesforce.com",
        "usa123s.salesforce.com",
        "acme.my-salesforce.com",
        "acme.cloudforce.com",
        "acme.database.com",
    ] {
        assert!(on.instance(&format!("https://{host}")).is_ok(), "{host}");
    }
    for host in [
        "www.salesforce.com",
        "help.salesforce.com",
        "na44x1.salesforce.com",
        "na44.evil.salesforce.com",
        "n4.salesforce.com",
        "na12345.salesforce.com",
        "44.salesforce.com",
        "cloudforce.com",
        "acme.force.com",
    ] {
        assert!(on.instance(&format!("https://{host}")).is_err(), "{host}");
    }
}

#[test]
fn loopback_opens_one_address() {
    let rows: &[(&str, Result<&str, &str>)] = &[
        ("http://127.0.0.1:9001", Ok("http://127.0.0.1:9001")),
        ("http://127.0.0.1:9001/", Ok("http://127.0.0.1:9001")),
        ("http://127.0.0.1", Ok("http://127.0.0.1")),
        ("https://acme.my.salesforce.com", Ok(ACME)),
        ("https://127.0.0.1:9001", Err("ip")),
        ("http://127.0.0.66:9001", Err("ip")),
        ("http://127.1:9001", Err("ip")),
        ("http://2130706433:9001", Err("ip")),
        ("http://127.0.0.1.:9001", Err("ip")),
        ("http://[::1]:9001", Err("ip")),
        ("http://[::ffff:127.0.0.1]:9001", Err("ip")),
        ("http://localhost:9001", Err("scheme")),
        ("http://user@127.0.0.1:9001", Err("userinfo")),
        ("http://127.0.0.1:9001/x", Err("path")),
        ("http://127.0.0.1:99999", Err("port")),
        ("http://10.0.0.1", Err("ip")),
    ];
    let four = config(json!({"loginUrl": "http://127.0.0.1:9000"}));
    for (url, expected) in rows {
        let found = four.instance(url);
        assert_eq!(found.as_deref().map_err(|e| e.why), *expected, "{url}");
    }
    let six = config(json!({"loginUrl": "http://[::1]:9000/"}));
    assert_eq!(six.login.origin, "http://[::1]:9000");
    assert_eq!(six.instance("http://[::1]:9001").unwrap(), "http://[::1]:9001");
    assert!(six.instance("http://127.0.0.1:9001").is_err());
}

/// K12.
#[test]
fn login_urls() {
    let (production, sandbox) = (Environment::PRODUCTION, Environment::SANDBOX);
    let rows = [
        ("https://login.salesforce.com", production, true),
        ("https://login.salesforce.com/", production, true),
        ("https://login.salesforce.com", sandbox, false),
        ("https://test.salesforce.com", sandbox, true),
        ("https://test.salesforce.com", production, false),
        ("https://login.sfcrmproducts.cn", production, true),
        ("https://acme.my.salesforce.com", production, true),
        ("https://acme.my.salesforce.mil", production, true),
        ("https://acme--uat.sandbox.my.salesforce.com", sandbox, true),
        ("https://acme--uat.sandbox.my.salesforce.com", production, false),
        ("https://acme--uat.my.salesforce.com", sandbox, true),
        ("https://evil.sandbox.my.evil.test", sandbox, false),
        ("https://na44.salesforce.com", production, false),
        ("https://evil.test", production, false),
        ("https://login.salesforce.com.evil.test", production, false),
        ("https://login.salesforce.com/services", production, false),
        ("http://login.salesforce.com", production, false),
        ("https://user:pw@login.salesforce.com", production, false),
        ("https://127.0.0.1", production, false),
        ("https://2130706433", production, false),
        ("https://[::1]", production, false),
    ];
    for (url, environment, accepted) in rows {
        assert_eq!(
            login(url, environment, false).is_ok(),
            accepted,
            "{url} {environment:?}"
        );
    }
    assert!(login("http://127.0.0.1:9000", production, true).is_ok());
    assert!(login("http://127.0.0.1:9000", production, false).is_err());
    assert!(login("http://localhost:9000", production, true).is_err());
    assert!(login("http://10.0.0.1:9000", production, true).is_err());
    assert!(login("https://127.0.0.1:9000", production, true).is_err());
}

#[test]
fn subjects() {
    let one = "00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
    let rows: &[(&str, Result<&str, &str>)] = &[
        (
            "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR",
            Ok(one),
        ),
        (
            "https://test.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR",
            Ok(one),
        ),
        (
            "https://acme.my.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR",
            Ok(one),
        ),
        (
            "https://evil.test/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR",
            Err("host"),
        ),
        (
            "http://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR",
            Err("scheme"),
        ),
        (
            "http://127.0.0.1/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR",
            Err("ip"),
        ),
        ("https://login.salesforce.com/id/00D5g00000A1b2CEAR", Err("path")),
        (
            "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR/x",
            Err("path"),
        ),
        (
            "https://login.salesforce.com/id/00D5g00000A1b2CEAR/../../etc/passwd..",
            Err("path"),
        ),
        (
            "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR?x",
            Err("path"),
        ),
        ("https://login.salesforce.com/", Err("path")),
        ("", Err("scheme")),
    ];
    let production = config(json!({}));
    for (url, expected) in rows {
        let found = subject(url, &production.login);
        assert_eq!(found.as_deref().map_err(|e| e.why), *expected, "{url}");
    }
    let short = "https://login.salesforce.com/id/001D000000IqhSL/003RO0000035WQg";
    assert_eq!(
        subject(short, &production.login).unwrap(),
        "001D000000IqhSLIAZ/003RO0000035WQgYAM"
    );
}

#[test]
fn long_ids() {
    for id in [
        "001D000000IqhSLIAZ",
        "001R00000064wdtIAA",
        "003RO0000035WQgYAM",
        "001D000000IRFmaIAH",
    ] {
        assert_eq!(long_id(&id[..15]).as_deref(), Some(id));
        assert_eq!(long_id(id).as_deref(), Some(id));
    }
    for id in ["", "00D", "001D000000IqhSLI", "001D000000Iqh-L", "001D000000Iqhé"] {
        assert_eq!(long_id(id), None, "{id}");
    }
}

/// Pieces from which hostile URLs are made.
const PIECES: [&str; 40] = [
    "https://",
    "http://",
    "HTTPS://",
    "//",
    ":",
    "/",
    "?",
    "#",
    "@",
    "\\",
    ".",
    "..",
    "-",
    "--",
    "%2e",
    "%00",
    "\t",
    "\n",
    " ",
    "[",
    "]",
    "[::1]",
    "127.0.0.1",
    "0x7f.1",
    "xn--a",
    "é",
    "\u{3002}",
    "\u{ad}",
    ":443",
    ":8443",
    ":0443",
    "acme",
    "ACME",
    "my",
    ".my.salesforce.com",
    "my.salesforce.com",
    ".evil.test",
    ".my.salesforce.mil",
    "user:pw@",
    "/services",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever is accepted here names the same host to a browser's parser, and that host is under a known suffix.
    #[test]
    fn nothing_slips_through(
        scheme in prop_oneof![9 => Just("https://"), 1 => Just("")],
        picks in prop::collection::vec(prop::sample::select(PIECES.as_slice()), 1..6),
    ) {
        let url = format!("{scheme}{}", picks.concat());
        if let Ok(origin) = config(json!({})).instance(&url) {
            let parsed = url::Url::parse(&url).unwrap();
            let host = parsed.host_str().unwrap();
            prop_assert_eq!(&origin, &format!("https://{host}"));
            prop_assert!(MY_DOMAIN.iter().any(|suffix| host.len() > suffix.len() && host.ends_with(suffix)));
            prop_assert_eq!(parsed.port_or_known_default(), Some(443));
            prop_assert!(parsed.username().is_empty() && parsed.password().is_none());
            prop_assert_eq!((parsed.path(), parsed.query(), parsed.fragment()), ("/", None, None));
        }
    }
}
