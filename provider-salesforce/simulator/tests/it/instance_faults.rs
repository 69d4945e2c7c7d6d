//! Each fault of the instance host.

use std::time::Duration;

use grantry_salesforce_simulator::{InstanceFault, InstanceFaultKind};

use crate::support::Lab;

async fn call(lab: &Lab, access: &str) -> Result<(u16, String), reqwest::Error> {
    let url = lab.instance("/services/data/v66.0/limits");
    let response = lab.http.get(url).bearer_auth(access).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

#[tokio::test]
async fn faults_happen_as_often_as_ordered() {
    let lab = Lab::start().await;
    let access = lab.grant().access;
    let order = |kind| lab.simulator.add_instance_fault(InstanceFault::once(kind));

    order(InstanceFaultKind::Unauthorized);
    let (status, text) = call(&lab, &access).await.unwrap();
    assert_eq!(status, 401);
    assert_eq!(
        text,
        r#"[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]"#
    );
    assert_eq!(call(&lab, &access).await.unwrap().0, 200);

    order(InstanceFaultKind::Unavailable { html: false });
    assert!(
        call(&lab, &access)
            .await
            .unwrap()
            .1
            .contains("SERVER_UNAVAILABLE")
    );
    order(InstanceFaultKind::Unavailable { html: true });
    assert!(call(&lab, &access).await.unwrap().1.contains("<html>"));
    order(InstanceFaultKind::Redirect {
        location: "https://elsewhere.invalid/".into(),
        status: 302,
    });
    assert_eq!(call(&lab, &access).await.unwrap().0, 302);
    order(InstanceFaultKind::CloseMidBody);
    assert!(call(&lab, &access).await.is_err());
    order(InstanceFaultKind::Close);
    assert!(call(&lab, &access).await.is_err());
    order(InstanceFaultKind::SlowBody { ms: 1, bytes: 10 });
    let (status, text) = call(&lab, &access).await.unwrap();
    assert!(status == 200 && text.contains("DailyApiRequests"));
    order(InstanceFaultKind::Hang);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), call(&lab, &access))
            .await
            .is_err()
    );
    assert_eq!(call(&lab, &access).await.unwrap().0, 200);
}

#[tokio::test]
async fn faults_can_be_bound_to_a_path() {
    let lab = Lab::start().await;
    let access = lab.grant().access;
    let fault = InstanceFault::once(InstanceFaultKind::Unauthorized);
    lab.simulator.add_instance_fault(InstanceFault {
        path: Some("/query".into()),
        ..fault
    });
    assert_eq!(call(&lab, &access).await.unwrap().0, 200);
    assert_eq!(lab.simulator.faults().instance.len(), 1);
    lab.simulator.clear_faults();
    assert!(lab.simulator.faults().instance.is_empty());
}
