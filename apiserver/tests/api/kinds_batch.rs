//! `batch`: Jobs and CronJobs.

use serde_json::{Value, json};

use crate::common::kind::{Kind, assert_contains};
use crate::common::{Api, MERGE};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const CRONS: &str = "/apis/batch/v1/namespaces/default/cronjobs";

fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "demo:1"}]}}}})
}

/// A Job whose pods are selected by hand, so that nothing in it depends on its uid.
fn manual(name: &str) -> Value {
    let mut o = job(name);
    o["spec"]["manualSelector"] = true.into();
    o["spec"]["selector"] = json!({"matchLabels": {"app": name}});
    o["spec"]["template"]["metadata"] = json!({"labels": {"app": name}});
    o
}

#[tokio::test]
async fn jobs() {
    let api = Api::start().await;
    let kind = Kind {
        path: JOBS,
        object: manual("j"),
        becomes: json!({"metadata": {"generation": 1, "labels": {"app": "j"}}, "status": {},
            "spec": {"completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
                "suspend": false, "manualSelector": true, "podReplacementPolicy": "TerminatingOrFailed"}}),
        row: json!(["j", "Running", "0/1", "", "main", "demo:1", "app=j"]),
        refused: vec![
            (
                json!({"spec": {"parallelism": -1}}),
                "Job.batch \"j\" is invalid: spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}),
                "Job.batch \"j\" is invalid: spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                json!({"spec": {"selector": null}}),
                "Job.batch \"j\" is invalid: [spec.selector: Required value, spec.template.metadata.labels: Invalid value: {\"app\":\"j\"}: `selector` does not match template `labels`]",
            ),
            (
                json!({"spec": {"selector": {"matchLabels": {"app": "x"}}}}),
                "Job.batch \"j\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"j\"}: `selector` does not match template `labels`",
            ),
            (
                json!({"spec": {"completionMode": "Some"}}),
                "Job.batch \"j\" is invalid: spec.completionMode: Unsupported value: \"Some\": supported values: \"NonIndexed\", \"Indexed\"",
            ),
            (
                json!({"spec": {"completionMode": "Indexed", "parallelism": 1}}),
                "Job.batch \"j\" is invalid: spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                json!({"spec": {"completionMode": "Indexed", "parallelism": 100_001, "completions": 5}}),
                "Job.batch \"j\" is invalid: spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
            ),
            (
                json!({"spec": {"maxFailedIndexes": 1, "completionMode": "Indexed", "completions": 5}}),
                "Job.batch \"j\" is invalid: spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            ),
            (
                json!({"spec": {"backoffLimitPerIndex": 1}}),
                "Job.batch \"j\" is invalid: spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
            (
                json!({"spec": {"managedBy": "me"}}),
                "Job.batch \"j\" is invalid: spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                json!({"spec": {"podReplacementPolicy": "Never"}}),
                "Job.batch \"j\" is invalid: spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"",
            ),
            (
                json!({"spec": {"successPolicy": {"rules": [{"succeededCount": 1}]}}}),
                "Job.batch \"j\" is invalid: spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode",
            ),
            (
                json!({"spec": {"completionMode": "Indexed", "completions": 3,
                    "successPolicy": {"rules": [{"succeededIndexes": "0-3", "succeededCount": 4}]}}}),
                "Job.batch \"j\" is invalid: [spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error parsing succeededIndexes: too large index: \"3\", spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions), spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 0 (the number of indexes in the specified succeededIndexes field)]",
            ),
            (
                json!({"spec": {"podFailurePolicy": {"rules": [{"action": "FailJob",
                    "onExitCodes": {"operator": "In", "values": [5, 0, 0], "containerName": "x"}}]}}}),
                "Job.batch \"j\" is invalid: [spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template, spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator, spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator, spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 0, spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [5,0,0]: must be ordered]",
            ),
            (
                json!({"spec": {"podFailurePolicy": {"rules": [{"action": "Explode"}]}}}),
                "Job.batch \"j\" is invalid: [spec.podFailurePolicy.rules[0].action: Unsupported value: \"Explode\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\", spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required]",
            ),
            (
                json!({"spec": {"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
                    "template": {"spec": {"restartPolicy": "OnFailure"}}}}),
                "Job.batch \"j\" is invalid: spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
            ),
        ],
        sealed: vec![
            (
                json!({"spec": {"completions": 2}}),
                "Job.batch \"j\" is invalid: spec.completions: Invalid value: 2: field is immutable",
            ),
            (
                json!({"spec": {"completionMode": "Indexed"}}),
                "Job.batch \"j\" is invalid: spec.completionMode: Invalid value: \"Indexed\": field is immutable",
            ),
            (
                json!({"spec": {"managedBy": "acme.io/jobs"}}),
                "Job.batch \"j\" is invalid: spec.managedBy: Invalid value: \"acme.io/jobs\": field is immutable",
            ),
        ],
        status: Some(json!({"active": 1, "ready": 1, "startTime": "2026-01-01T00:00:00Z"})),
    };
    kind.check(&api).await;
    let found = api.get(&format!("{JOBS}?fieldSelector=status.successful=0")).await.ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_job_selects_its_own_pods() {
    let api = Api::start().await;
    let made = api.post(JOBS, &job("own")).await.created();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        made["spec"]["template"]["metadata"]["labels"],
        json!({"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": "own",
            "controller-uid": uid, "job-name": "own"})
    );
    assert_eq!(made["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    let mut other = job("other");
    other["spec"]["template"]["metadata"] = json!({"labels": {"job-name": "x"}});
    let told = api.post(JOBS, &other).await.refused(422, "Invalid");
    assert!(
        told.starts_with(
            "Job.batch \"other\" is invalid: spec.template.metadata.labels[job-name]: Invalid value: {"
        ) && told.ends_with("must be 'other'"),
        "{told}"
    );
    let dotted = api.post(JOBS, &job("a.b")).await;
    assert_eq!(
        dotted.warnings(),
        [
            "299 - \"metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]\""
        ]
    );
    dotted.created();
}

#[tokio::test]
async fn a_suspended_job_may_be_planned_anew() {
    let api = Api::start().await;
    let mut body = job("s");
    body["spec"]["suspend"] = true.into();
    api.post(JOBS, &body).await.created();
    let path = format!("{JOBS}/s");
    let labelled = api.patch(&path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 1, "nothing of the plan has changed");
    let plan = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}, "spec": {
        "nodeSelector": {"zone": "a"}, "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "x", "operator": "Exists"}]}]}}},
        "containers": [{"name": "main", "image": "demo:1", "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "2"}}}]}}}});
    let planned = api.patch(&path, MERGE, &plan).await.ok();
    assert_contains(&planned["spec"]["template"]["spec"], &json!({"nodeSelector": {"zone": "a"}}), "plan");
    assert_eq!(planned["metadata"]["generation"], 2);
    let image = json!({"spec": {"template": {"spec": {"serviceAccountName": "x"}}}});
    let told = api.patch(&path, MERGE, &image).await.refused(422, "Invalid");
    assert!(
        told.contains("spec.template.spec: Invalid value: {") && told.ends_with("field is immutable"),
        "{told}"
    );
    // Pods that are still there keep the plan as it is.
    let active = json!({"status": {"active": 1}});
    api.patch(&format!("{path}/status"), MERGE, &active).await.ok();
    let again = json!({"spec": {"template": {"spec": {"nodeSelector": {"zone": "b"}}}}});
    api.patch(&path, MERGE, &again).await.refused(422, "Invalid");
}

#[tokio::test]
async fn an_indexed_job_grows_with_its_parallelism() {
    let api = Api::start().await;
    let mut body = job("i");
    body["spec"]["completionMode"] = "Indexed".into();
    body["spec"]["completions"] = 3.into();
    body["spec"]["parallelism"] = 3.into();
    api.post(JOBS, &body).await.created();
    let path = format!("{JOBS}/i");
    let told = api.patch(&path, MERGE, &json!({"spec": {"completions": 4}})).await.refused(422, "Invalid");
    assert_eq!(
        told,
        "Job.batch \"i\" is invalid: spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"
    );
    api.patch(&path, MERGE, &json!({"spec": {"completions": 4, "parallelism": 4}})).await.ok();
    let long = "x".repeat(62);
    let mut body = job(&long);
    body["spec"]["completionMode"] = "Indexed".into();
    body["spec"]["completions"] = 3.into();
    let told = api.post(JOBS, &body).await.refused(422, "Invalid");
    assert!(told.contains(&format!(
        "metadata.name: Invalid value: \"{long}\": will not able to create pod with invalid DNS label: {long}-2"
    )));
}

#[tokio::test]
async fn the_status_of_a_job_keeps_its_promises() {
    let api = Api::start().await;
    api.post(JOBS, &manual("p")).await.created();
    let path = format!("{JOBS}/p/status");
    let is = |kind: &str| json!({"type": kind, "status": "True"});
    for (status, message) in [
        (json!({"ready": 1}), "status.ready: Invalid value: 1: cannot set more ready pods than active"),
        (
            json!({"completionTime": "2026-01-01T00:00:00Z"}),
            "status.completionTime: Invalid value: \"2026-01-01T00:00:00Z\": cannot set completionTime when there is no Complete=True condition",
        ),
        (
            json!({"conditions": [is("Failed")], "startTime": "2026-01-01T00:00:00Z"}),
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            json!({"conditions": [is("SuccessCriteriaMet"), is("Complete")], "startTime": "2026-01-02T00:00:00Z",
                "completionTime": "2026-01-01T00:00:00Z"}),
            "status.completionTime: Invalid value: \"2026-01-01T00:00:00Z\": must be equal to or after `startTime`",
        ),
        (
            json!({"completedIndexes": "0"}),
            "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
        ),
        (
            json!({"uncountedTerminatedPods": {"failed": ["a", "a"]}}),
            "status.uncountedTerminatedPods.failed[1]: Duplicate value: \"a\"",
        ),
    ] {
        let told = api.patch(&path, MERGE, &json!({"status": status})).await.refused(422, "Invalid");
        assert_eq!(told, format!("Job.batch \"p\" is invalid: {message}"));
    }
    let done = json!({"status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:00Z", "conditions": [is("SuccessCriteriaMet"), is("Complete")]}});
    api.patch(&path, MERGE, &done).await.ok();
    for (status, message) in [
        (
            json!({"conditions": [is("SuccessCriteriaMet")], "completionTime": null}),
            "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
        ),
        (
            json!({"succeeded": 0}),
            "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
        ),
        (json!({"active": 1}), "status.active: Invalid value: 1: active>0 is invalid for finished job"),
        (
            json!({"completionTime": "2026-01-01T00:02:00Z"}),
            "status.completionTime: Invalid value: \"2026-01-01T00:02:00Z\": field is immutable",
        ),
        (
            json!({"startTime": "2026-01-01T00:00:01Z"}),
            "status.startTime: Invalid value: \"2026-01-01T00:00:01Z\": field is immutable for unsuspended job once set",
        ),
        (
            json!({"uncountedTerminatedPods": {"failed": ["a"]}}),
            "status.uncountedTerminatedPods: Invalid value: {\"failed\":[\"a\"]}: must be empty for finished job",
        ),
    ] {
        let told = api.patch(&path, MERGE, &json!({"status": status})).await.refused(422, "Invalid");
        assert_eq!(told, format!("Job.batch \"p\" is invalid: {message}"));
    }
}

#[tokio::test]
async fn a_job_leaves_its_pods_unless_told_otherwise() {
    let api = Api::start().await;
    api.post(JOBS, &job("o")).await.created();
    let left = api.delete(&format!("{JOBS}/o")).await.ok();
    assert_eq!(left["metadata"]["finalizers"], json!(["orphan"]));
    api.post(JOBS, &job("b")).await.created();
    api.delete_with(&format!("{JOBS}/b"), &json!({"propagationPolicy": "Background"})).await.ok();
    api.get(&format!("{JOBS}/b")).await.refused(404, "NotFound");
}

fn cron(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job("x")["spec"]}}})
}

#[tokio::test]
async fn cron_jobs() {
    let api = Api::start().await;
    let kind = Kind {
        path: CRONS,
        object: cron("c"),
        becomes: json!({"metadata": {"generation": 1}, "status": {},
            "spec": {"concurrencyPolicy": "Allow", "suspend": false, "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 1, "jobTemplate": {"spec": {"template": {"spec": {"dnsPolicy": "ClusterFirst"}}}}}}),
        row: json!(["c", "*/5 * * * *", "<none>", "False", 0, "<none>", "main", "demo:1", "<none>"]),
        refused: vec![
            (
                json!({"spec": {"schedule": ""}}),
                "CronJob.batch \"c\" is invalid: spec.schedule: Required value",
            ),
            (
                json!({"spec": {"schedule": "error"}}),
                "CronJob.batch \"c\" is invalid: spec.schedule: Invalid value: \"error\": expected exactly 5 fields, found 1: [error]",
            ),
            (
                json!({"spec": {"schedule": "TZ=UTC * * * * *"}}),
                "CronJob.batch \"c\" is invalid: spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ),
            (
                json!({"spec": {"timeZone": "broken"}}),
                "CronJob.batch \"c\" is invalid: spec.timeZone: Invalid value: \"broken\": unknown time zone broken",
            ),
            (
                json!({"spec": {"timeZone": "Local"}}),
                "CronJob.batch \"c\" is invalid: spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ),
            (
                json!({"spec": {"concurrencyPolicy": "Never"}}),
                "CronJob.batch \"c\" is invalid: spec.concurrencyPolicy: Unsupported value: \"Never\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
            (
                json!({"spec": {"startingDeadlineSeconds": -1}}),
                "CronJob.batch \"c\" is invalid: spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"jobTemplate": {"spec": {"manualSelector": true}}}}),
                "CronJob.batch \"c\" is invalid: spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
            ),
            (
                json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}}),
                "CronJob.batch \"c\" is invalid: spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"schedule": "CRON_TZ=UTC * * * * *"}}),
            "CronJob.batch \"c\" is invalid: spec.schedule: Invalid value: \"CRON_TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        )],
        status: Some(json!({"lastScheduleTime": "2026-01-01T00:00:00Z"})),
    };
    kind.check(&api).await;
    let zoned = json!({"spec": {"timeZone": "Europe/Berlin", "schedule": "@hourly"}});
    api.patch(&format!("{CRONS}/c"), MERGE, &zoned).await.ok();
    let long = "c".repeat(53);
    assert_eq!(
        api.post(CRONS, &cron(&long)).await.refused(422, "Invalid"),
        format!(
            "CronJob.batch \"{long}\" is invalid: metadata.name: Invalid value: \"{long}\": must be no more than 52 characters"
        )
    );
}
