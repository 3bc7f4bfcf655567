//! `serviceaccounts/token`: issues a token for an account, bound to what it is for. Rules and words: upstream's
//! `pkg/registry/core/serviceaccount/storage/token.go`.

use api_types::catalog;
use api_types::field::{ErrorList, Path};
use api_types::json::Parsed;
use api_types::meta::{self, at, str_at};
use api_types::schema::{Table, decode};
use api_types::status::Status;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Call;
use super::respond::{self, Answer};
use crate::admission::{Attributes, Operation};
use crate::authn::service_account::{self, Bound, Issue};
use crate::registry::parse_stored;
use crate::registry::read::Freshness;
use crate::request::body;

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// What projected volumes of the ServiceAccount plugin ask for: such tokens are good for a year, so that programs
/// which never read them again go on working, and are warned of after the time asked for.
const WARN_ONLY_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

pub async fn issue(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    let write = call.write()?;
    let bytes = body::read(call.take_body()).await?;
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let mut request = decoded(&bytes, media)?;
    name_it(&mut request, namespace, name)?;
    let tokens = call.server.tokens().ok_or_else(|| {
        Status::internal("this API server has no --service-account-signing-key-file and issues no tokens")
    })?;
    let account = read(&call, "serviceaccounts", namespace, name).await?;
    if at(&request, &["spec", "expirationSeconds"]).is_none_or(Value::is_null) {
        request["spec"]["expirationSeconds"] = DEFAULT_SECONDS.into();
    }
    let seconds = validated(&request, name)?;
    let mut attributes = Attributes::new(Operation::Create, call.kind, namespace, &write, &mut request, None);
    attributes.name = name.clone();
    call.registry().admission().admit(call.registry(), &mut attributes).await?;
    // Only now, so that a plugin can tell what was asked for.
    if at(&request, &["spec", "audiences"]).and_then(Value::as_array).is_none_or(Vec::is_empty) {
        request["spec"]["audiences"] = json!(tokens.audiences());
    }
    let bound = bound(&call, &request, namespace, name).await?;
    let audiences: Vec<String> = at(&request, &["spec", "audiences"])
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let extended = seconds == WARN_ONLY_SECONDS && bound.pod.is_some() && audiences == tokens.audiences();
    let issued = service_account::now();
    let token = Issue {
        namespace,
        account: Bound { name: name.clone(), uid: meta::uid(&account).to_owned() },
        audiences: &audiences,
        issued,
        seconds: if extended { EXTENDED_SECONDS } else { seconds },
        warn_after: extended.then_some(seconds),
        pod: bound.pod,
        secret: bound.secret,
        node: bound.node,
    };
    // A year's token is reported to end when its user asked for it to end, so that agents fetch the next in time.
    let end = Timestamp::from_second(issued + seconds).map_err(Status::internal)?;
    let text = tokens.sign(&token).map_err(|e| Status::internal(format!("failed to generate token: {e}")))?;
    request["status"] = json!({"token": text, "expirationTimestamp": meta::rfc3339(end)});
    Ok(respond::json(StatusCode::CREATED, &request))
}

fn decoded(bytes: &[u8], media: body::Media) -> Result<Value, Status> {
    let unreadable = |e: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type TokenRequest): {e}"
        ))
    };
    let Parsed { value: mut request, .. } = body::parse(bytes, media).map_err(unreadable)?;
    if !request.is_object() {
        return Err(unreadable("it is no object".into()));
    }
    let table = Table::builtin();
    if let Some(id) = table.find("authentication.v1.TokenRequest") {
        decode::normalize(&mut request, id, table).map_err(|e| {
            Status::bad_request(format!(
                "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: {}",
                e.0
            ))
        })?;
    }
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["kind"] = "TokenRequest".into();
    for part in ["metadata", "spec"] {
        if !request[part].is_object() {
            request[part] = json!({});
        }
    }
    Ok(request)
}

/// The names of the path stand, and those of the body must be the same.
fn name_it(request: &mut Value, namespace: &str, name: &str) -> Result<(), Status> {
    let (own_name, own_namespace) = (meta::name(request), meta::namespace(request));
    if !own_namespace.is_empty() && own_namespace != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !own_name.is_empty() && own_name != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own_name}) does not match the name on the URL ({name})"
        )));
    }
    let m = meta::metadata_mut(request);
    m.insert("name".into(), name.into());
    m.insert("namespace".into(), namespace.into());
    m.insert("creationTimestamp".into(), meta::now().into());
    Ok(())
}

fn validated(request: &Value, name: &str) -> Result<i64, Status> {
    let seconds =
        at(request, &["spec", "expirationSeconds"]).and_then(Value::as_i64).unwrap_or(DEFAULT_SECONDS);
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("expirationSeconds");
    if seconds < MIN_SECONDS {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MAX_SECONDS {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() {
        return Ok(seconds);
    }
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", name, &errors))
}

#[derive(Default)]
struct BoundTo {
    pod: Option<Bound>,
    secret: Option<Bound>,
    node: Option<Bound>,
}

/// Looks up what the token shall be bound to.
async fn bound(call: &Call<'_>, request: &Value, namespace: &str, account: &str) -> Result<BoundTo, Status> {
    let mut out = BoundTo::default();
    let Some(reference) = at(request, &["spec", "boundObjectRef"]).filter(|r| r.is_object()) else {
        return Ok(out);
    };
    let (version, kind, name) =
        (str_at(reference, &["apiVersion"]), str_at(reference, &["kind"]), str_at(reference, &["name"]));
    let (plural, scope) = match (version, kind) {
        ("v1", "Pod") => ("pods", namespace),
        ("v1", "Secret") => ("secrets", namespace),
        ("v1", "Node") => ("nodes", ""),
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let object = read(call, plural, scope, name).await?;
    let (uid, wanted) = (meta::uid(&object), str_at(reference, &["uid"]));
    if !wanted.is_empty() && wanted != uid {
        return Err(Status::conflict(
            "",
            kind,
            name,
            &format!(
                "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    let it = Some(Bound { name: name.to_owned(), uid: uid.to_owned() });
    match plural {
        "pods" => {
            let runs_as = str_at(&object, &["spec", "serviceAccountName"]);
            if runs_as != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            out.pod = it;
            out.node = pod_node(call, &object).await?;
        }
        "secrets" => out.secret = it,
        _ => out.node = it,
    }
    Ok(out)
}

/// The node of a pod, for the token to tell; without a uid where it is not registered.
async fn pod_node(call: &Call<'_>, pod: &Value) -> Result<Option<Bound>, Status> {
    let name = str_at(pod, &["spec", "nodeName"]);
    if name.is_empty() {
        return Ok(None);
    }
    let uid = match read(call, "nodes", "", name).await {
        Ok(node) => meta::uid(&node).to_owned(),
        Err(s) if s.reason == "NotFound" => String::new(),
        Err(s) => return Err(s),
    };
    Ok(Some(Bound { name: name.to_owned(), uid }))
}

async fn read(call: &Call<'_>, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let kind = catalog::by_resource("", "v1", plural).ok_or_else(Status::no_such_path)?;
    let found = call.registry().get(kind, namespace, name, Freshness::Consistent).await?;
    parse_stored(&found.bytes)
}
