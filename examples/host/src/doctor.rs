//! `grantry-host doctor`: examines a store and its providers, and tells the operator what to do.

use grantry::health::{Findings, Health, Trap};

use crate::{cli::DoctorArgs, problem::Problem, secrets, serve};

/// How many connections a line names.
const NAMED: usize = 5;

/// Runs beside a service or without one. Changes nothing, and refreshes nothing.
pub(crate) async fn run(args: DoctorArgs) -> Result<(), Problem> {
    let keyring = secrets::keyring(&secrets::read(secrets::KEYS)?)?;
    let stores = serve::open_existing(&args.store).await?;
    let mut builder = serve::broker(stores, keyring, "https://doctor.invalid").without_background_tasks();
    if args.allow_loopback_upstream {
        builder = builder.allow_loopback_upstream();
    }
    let broker = builder.build()?;
    let health = broker.health().await;
    let traps = match health.store_error {
        None => broker.diagnose().await?,
        Some(_) => Vec::new(),
    };
    print!("{}", report(&health, &traps));
    if health.is_well() && traps.is_empty() {
        Ok(())
    } else {
        Err("doctor: see above".into())
    }
}

/// The report. Every line starts with a code, so that it can be searched for.
fn report(health: &Health, traps: &[Trap]) -> String {
    let mut lines = Vec::new();
    if let Some(code) = health.store_error {
        lines.push(format!("{}: {}", code.as_str(), code.message()));
    }
    for warning in &health.store {
        lines.push(format!("{}: {}", warning.code, warning.message));
    }
    for (what, findings, advice) in [
        (
            "outcome_unknown",
            &health.outcome_unknown,
            "A refresh was sent and its outcome is unknown. It is repeated once that is safe.",
        ),
        (
            "cooling",
            &health.cooling,
            "The provider refuses for now. The refresh is retried automatically.",
        ),
        (
            "expired",
            &health.expired,
            "Their users need to reconnect: send them a reconnect link.",
        ),
    ] {
        lines.extend(of_findings(what, findings, advice));
    }
    for found in &health.integrations {
        let reason = if found.reason.is_empty() {
            "no reason given"
        } else {
            &found.reason
        };
        lines.push(format!(
            "integration {} is {}: {reason}",
            found.integration,
            found.state.as_str()
        ));
    }
    for key in &health.keys {
        let at_hand = if key.at_hand {
            ""
        } else {
            ", and it is not in GRANTRY_KEYS"
        };
        let name = if key.key.is_empty() { "no key" } else { &key.key };
        lines.push(format!("{name} sealed {} connections{at_hand}", key.connections));
    }
    for trap in traps {
        let whose = match &trap.integration {
            Some(integration) => format!(" (integration {integration})"),
            None => String::new(),
        };
        lines.push(format!("{}{whose}: {}", trap.kind.as_str(), trap.kind.advice()));
        if trap.count > 0 {
            lines.push(format!(
                "    {}",
                names(trap.count, trap.connections.iter().map(ToString::to_string))
            ));
        }
    }
    let verdict = if health.is_well() && traps.is_empty() {
        "Nothing needs to be done."
    } else {
        "Something needs to be done."
    };
    lines.push(verdict.to_owned());
    lines.join("\n") + "\n"
}

fn of_findings(what: &str, findings: &Findings, advice: &str) -> Vec<String> {
    if findings.items.is_empty() {
        return Vec::new();
    }
    let more = if findings.more { " or more" } else { "" };
    let mut lines = vec![format!(
        "{what}: {}{more} connections. {advice}",
        findings.items.len()
    )];
    for found in findings.items.iter().take(NAMED) {
        let reason = found.reason.map_or("no reason given", |reason| reason.as_str());
        let since = found
            .since
            .map_or_else(String::new, |since| format!(" since {since}"));
        let next = found
            .next
            .map_or_else(String::new, |next| format!(", next try {next}"));
        lines.push(format!("    {}: {reason}{since}{next}", found.connection));
    }
    lines
}

fn names(count: u64, ids: impl Iterator<Item = String>) -> String {
    let named: Vec<String> = ids.take(NAMED).collect();
    let rest = count.saturating_sub(u64::try_from(named.len()).unwrap_or(count));
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{count} connections: {}{more}", named.join(", "))
}
