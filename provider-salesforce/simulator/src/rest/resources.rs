//! The small resources: versions, the list of resources, limits.

use serde_json::{Value, json};

/// The version that `latest` stands for.
pub(crate) const LATEST: &str = "68.0";
const OLDEST_VERSION: u32 = 31;
const LATEST_VERSION: u32 = 68;

/// The number of a version segment such as `v66.0`.
pub(crate) fn known_version(segment: &str) -> Option<&str> {
    let version = segment.strip_prefix('v')?;
    let number: u32 = version.strip_suffix(".0")?.parse().ok()?;
    (OLDEST_VERSION..=LATEST_VERSION)
        .contains(&number)
        .then_some(version)
}

/// The list of versions.
pub(crate) fn versions() -> Value {
    (OLDEST_VERSION..=LATEST_VERSION)
        .map(|number| {
            // v31.0 is Summer '14; three releases make a year, and a winter release belongs to the next one.
            let (season, year) = match (number - OLDEST_VERSION) % 3 {
                0 => ("Summer", 14 + (number - OLDEST_VERSION) / 3),
                1 => ("Winter", 15 + (number - OLDEST_VERSION) / 3),
                _ => ("Spring", 15 + (number - OLDEST_VERSION) / 3),
            };
            json!({
                "label": format!("{season} '{year}"),
                "url": format!("/services/data/v{number}.0"),
                "version": format!("{number}.0"),
            })
        })
        .collect()
}

/// The resources of a version.
pub(crate) fn resources(version: &str, org_id: &str, user_id: &str) -> Value {
    let path = |name: &str| format!("/services/data/v{version}/{name}");
    json!({
        "sobjects": path("sobjects"), "query": path("query"), "queryAll": path("queryAll"), "limits": path("limits"),
        "identity": format!("/id/{org_id}/{user_id}"),
    })
}

/// The limits of an org.
pub(crate) fn limits(used: u64, limit: u64) -> String {
    let remaining = limit.saturating_sub(used);
    format!(
        r#"{{"DailyApiRequests":{{"Max":{limit},"Remaining":{remaining}}},"DailyAsyncApexExecutions":{{"Max":250000,"Remaining":250000}},"DailyBulkApiBatches":{{"Max":15000,"Remaining":15000}},"DataStorageMB":{{"Max":1024,"Remaining":1000}},"FileStorageMB":{{"Max":1024,"Remaining":1024}},"HourlyPublishedPlatformEvents":{{"Max":50000,"Remaining":50000}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_seasons() {
        let versions = versions();
        let label = |number: usize| versions[number - 31]["label"].as_str().unwrap().to_owned();
        assert_eq!(
            [label(31), label(66), label(67), label(68)],
            ["Summer '14", "Spring '26", "Summer '26", "Winter '27"]
        );
        assert_eq!(known_version("v66.0"), Some("66.0"));
        assert_eq!(known_version("v30.0"), None);
        assert_eq!(known_version("v66"), None);
    }
}
