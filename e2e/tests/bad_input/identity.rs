//! Requests of nobody, and of somebody who may not.

use anyhow::{Result, ensure};
use e2e::Plane;

use crate::{config_map, expect};

pub fn unauthenticated(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let wrong = api.with_token(Some("nonsense"))?;
    for (method, path) in
        [("GET", "/api/v1/pods"), ("GET", "/version"), ("DELETE", "/api/v1/namespaces/default")]
    {
        let answer = wrong.send(method, path, &[], Vec::new())?;
        expect(path, &answer, 401, "Unauthorized", &["Unauthorized"])?;
    }
    let nobody = api.with_token(None)?;
    let answer = nobody.get("/api/v1/namespaces/default/pods")?;
    let said = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" \
        in the namespace \"default\"";
    expect("anonymous", &answer, 403, "Forbidden", &[said])?;
    for path in ["/version", "/livez", "/readyz", "/healthz"] {
        let answer = nobody.get(path)?;
        ensure!(answer.status == 200, "{path} is for everybody: {answer:?}");
    }
    let answer = nobody.get("/metrics")?;
    let said = "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"";
    expect("metrics", &answer, 403, "Forbidden", &[said])
}

pub fn unauthorised(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let jane = ("impersonate-user", "jane");
    let answer = api.send("GET", "/api/v1/namespaces/default/secrets/x", &[jane], Vec::new())?;
    let said = "secrets \"x\" is forbidden: User \"jane\" cannot get resource \"secrets\" in API group \"\" \
        in the namespace \"default\"";
    expect("get", &answer, 403, "Forbidden", &[said])?;
    let answer = api.send("GET", "/apis/apps/v1/deployments", &[jane], Vec::new())?;
    let said = "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \
        \"apps\" at the cluster scope";
    expect("list", &answer, 403, "Forbidden", &[said])?;
    let body = config_map("janes").to_string().into_bytes();
    let headers = [jane, ("content-type", "application/json")];
    let path = "/api/v1/namespaces/default/configmaps";
    expect(
        "create",
        &api.send("POST", path, &headers, body.clone())?,
        403,
        "Forbidden",
        &["cannot create resource"],
    )?;

    // What is granted is allowed, at once, and no more.
    let role = "create role maker --verb=create --resource=configmaps";
    p.k(role)?.ok()?;
    p.k("create rolebinding jane-makes --role=maker --user=jane")?.ok()?;
    e2e::eventually("jane may create", std::time::Duration::from_secs(5), || {
        let answer = api.send("POST", &format!("{path}?dryRun=All"), &headers, body.clone())?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(())
    })?;
    expect("list", &api.send("GET", path, &[jane], Vec::new())?, 403, "Forbidden", &["cannot list"])?;
    let yes = p.k("auth can-i create configmaps --as=jane")?.run()?;
    ensure!(yes.stdout.trim() == "yes", "{yes}");
    let no = p.k("auth can-i delete configmaps --as=jane")?.run()?;
    ensure!(no.stdout.trim() == "no" && no.code == 1, "{no}");
    let error = p.k("get nodes --as=jane")?.fails()?;
    ensure!(error.contains("Error from server (Forbidden): nodes is forbidden: User \"jane\""), "{error}");
    // Nobody hands out more than they have.
    let error =
        p.k("create clusterrolebinding mine --clusterrole=cluster-admin --user=jane --as=jane")?.fails()?;
    ensure!(error.contains("Forbidden") || error.contains("forbidden"), "{error}");
    Ok(())
}
