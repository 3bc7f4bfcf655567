//! The paths of the API, each with its operations.

use api_types::catalog::{Kind, Subresource};
use serde_json::{Map, Value, json};

use super::operation::{self, Action, Operation, full_name};
use super::parameters::{self, parameter, parameters};
use super::schemas::body_type;
use super::{CreatedOnly, Dialect};

/// The paths and operations of one kind are made by one of these.
struct Of<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    namespaced: bool,
    dialect: Dialect,
}

/// `apps_v1` and `AppsV1`: a group without its domain, in one word.
fn stem(group: &str) -> String {
    if group.is_empty() {
        return "core".into();
    }
    let own = group.strip_suffix(".k8s.io").unwrap_or(group);
    let mut words = own.split('.');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |out, word| out + &capital(word))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

impl Of<'_> {
    fn group_version(&self) -> String {
        capital(&stem(self.group)) + &capital(self.version)
    }

    fn tag(&self) -> String {
        format!("{}_{}", stem(self.group), self.version)
    }

    /// `NamespacedPod`.
    fn placed(&self) -> String {
        format!("{}{}", if self.namespaced { "Namespaced" } else { "" }, self.kind)
    }

    fn operation(
        &self,
        action: Action,
        id: String,
        description: String,
        (body, answer): (Option<&str>, Option<&str>),
        names: &[&str],
    ) -> Value {
        self.about(action, id, description, (self.group, self.version, self.kind), (body, answer), names)
    }

    fn about(
        &self,
        action: Action,
        id: String,
        description: String,
        (group, version, kind): (&str, &str, &str),
        (body, answer): (Option<&str>, Option<&str>),
        names: &[&str],
    ) -> Value {
        let operation = Operation {
            action,
            id,
            description,
            tag: self.tag(),
            kind: (group.to_owned(), version.to_owned(), kind.to_owned()),
            body: body.map(str::to_owned),
            answer: answer.map(str::to_owned),
            parameters: parameters(names, self.dialect),
        };
        operation.write(self.dialect)
    }

    /// Adds the parameters of the path itself.
    fn place(&self, mut item: Value, named: Option<&str>, others: &[&str]) -> Value {
        let mut all = parameters(others, self.dialect);
        if let Some(kind) = named {
            let mut name = parameter("name", self.dialect);
            name["description"] = format!("name of the {kind}").into();
            all.push(name);
        }
        if self.namespaced {
            all.push(parameter("namespace", self.dialect));
        }
        item["parameters"] = all.into();
        item
    }
}

/// Adds the paths of a kind.
pub fn add(kind: &Kind, dialect: Dialect, paths: &mut Map<String, Value>) {
    let of = Of {
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        namespaced: kind.namespaced(),
        dialect,
    };
    let root = root(kind.group, kind.version);
    let scoped = if kind.namespaced() { format!("{root}/namespaces/{{namespace}}") } else { root.clone() };
    let (all, base) = (format!("{root}/{}", kind.plural), format!("{scoped}/{}", kind.plural));
    if kind.namespaced() {
        let everywhere = Of { namespaced: false, ..of };
        let item = json!({"get": list(&everywhere, kind, "ForAllNamespaces", &[])});
        paths.insert(all, everywhere.place(item, None, &listing()));
    }
    paths.insert(base.clone(), collection(&of, kind));
    paths.insert(format!("{base}/{{name}}"), one(&of, kind));
    if kind.verbs.contains(&"watch") {
        watches(&of, kind, &root, paths);
    }
    for s in kind.subresources {
        below(&of, kind, *s, &format!("{base}/{{name}}/{}", s.path()), paths);
    }
}

/// The parameters of a path that can only be listed or watched.
fn listing() -> Vec<&'static str> {
    parameters::LIST.iter().copied().chain(["pretty"]).collect()
}

fn list(of: &Of<'_>, kind: &Kind, suffix: &str, names: &[&str]) -> Value {
    let answer = format!("{}List", kind.type_name);
    let watched = if kind.verbs.contains(&"watch") { "list or watch" } else { "list" };
    let id = format!("list{}{}{suffix}", of.group_version(), of.placed());
    of.operation(
        Action::List,
        id,
        format!("{watched} objects of kind {}", kind.kind),
        (None, Some(&answer)),
        names,
    )
}

fn collection(of: &Of<'_>, kind: &Kind) -> Value {
    let (own, gv) = (kind.type_name, of.group_version());
    if !kind.verbs.contains(&"create") {
        return of.place(json!({"get": list(of, kind, "", &[])}), None, &listing());
    }
    let mut item = json!({"get": list(of, kind, "", parameters::LIST)});
    item["post"] = of.operation(
        Action::Post,
        format!("create{gv}{}", of.placed()),
        format!("create {} {}", article(kind.kind), kind.kind),
        (Some(own), Some(own)),
        parameters::WRITE,
    );
    if kind.verbs.contains(&"deletecollection") {
        item["delete"] = of.operation(
            Action::DeleteCollection,
            format!("delete{gv}Collection{}", of.placed()),
            format!("delete collection of {}", kind.kind),
            (Some(operation::DELETE_OPTIONS), Some(operation::STATUS)),
            parameters::DELETE_COLLECTION,
        );
    }
    of.place(item, None, &["pretty"])
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}

fn one(of: &Of<'_>, kind: &Kind) -> Value {
    let (own, gv, placed) = (kind.type_name, of.group_version(), of.placed());
    let specified = format!("the specified {}", kind.kind);
    let mut item = json!({"get": of.operation(Action::Get, format!("read{gv}{placed}"), format!("read {specified}"),
        (None, Some(own)), &[])});
    let mut add =
        |verb: &str, method: &str, action: Action, body: &str, answer: &str, text: String, names: &[&str]| {
            if kind.verbs.contains(&verb) {
                let id = format!("{}{gv}{placed}", action.verb());
                item[method] = of.operation(action, id, text, (Some(body), Some(answer)), names);
            }
        };
    add("update", "put", Action::Put, own, own, format!("replace {specified}"), parameters::WRITE);
    let text = format!("partially update {specified}");
    add("patch", "patch", Action::Patch, operation::PATCH, own, text, parameters::PATCH);
    let gone = if kind.returns_deleted() { own } else { operation::STATUS };
    let text = format!("delete {} {}", article(kind.kind), kind.kind);
    add("delete", "delete", Action::Delete, operation::DELETE_OPTIONS, gone, text, parameters::DELETE);
    of.place(item, Some(kind.kind), &["pretty"])
}

/// The older form of a watch, with a path of its own.
fn watches(of: &Of<'_>, kind: &Kind, root: &str, paths: &mut Map<String, Value>) {
    const INSTEAD: &str = "deprecated: use the 'watch' parameter with a list operation instead";
    let gv = of.group_version();
    let event = || (None, Some(operation::WATCH_EVENT));
    let many = |of: &Of<'_>, suffix: &str| {
        let id = format!("watch{gv}{}List{suffix}", of.placed());
        let text = format!("watch individual changes to a list of {}. {INSTEAD}.", kind.kind);
        of.place(json!({"get": of.operation(Action::WatchList, id, text, event(), &[])}), None, &listing())
    };
    let scoped = if of.namespaced { "namespaces/{namespace}/" } else { "" };
    if of.namespaced {
        let everywhere = Of { namespaced: false, group: of.group, version: of.version, ..*of };
        paths.insert(format!("{root}/watch/{}", kind.plural), many(&everywhere, "ForAllNamespaces"));
    }
    paths.insert(format!("{root}/watch/{scoped}{}", kind.plural), many(of, ""));
    let text = format!(
        "watch changes to an object of kind {}. {INSTEAD}, filtered to a single item with the 'fieldSelector' parameter.",
        kind.kind
    );
    let single = of.operation(Action::Watch, format!("watch{gv}{}", of.placed()), text, event(), &[]);
    let item = of.place(json!({"get": single}), Some(kind.kind), &listing());
    paths.insert(format!("{root}/watch/{scoped}{}/{{name}}", kind.plural), item);
}

/// What the streams of a pod take.
fn stream_parameters(s: Subresource) -> &'static [&'static str] {
    match s {
        Subresource::Log => &[
            "container",
            "follow",
            "insecureSkipTLSVerifyBackend",
            "limitBytes",
            "pretty",
            "previous",
            "sinceSeconds",
            "stream",
            "tailLines",
            "timestamps",
        ],
        Subresource::Exec => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        Subresource::Attach => &["container", "stderr", "stdin", "stdout", "tty"],
        Subresource::PortForward => &["ports"],
        _ => &["path"],
    }
}

fn below(of: &Of<'_>, kind: &Kind, s: Subresource, path: &str, paths: &mut Map<String, Value>) {
    let gvk = s.body(kind.kind).unwrap_or((kind.group, kind.version, kind.kind));
    let body = s.body(kind.kind).map_or(Some(kind.type_name.to_owned()), body_type);
    let (gv, placed, name) = (of.group_version(), of.placed(), capital(s.path()));
    match s {
        Subresource::Exec | Subresource::Attach | Subresource::PortForward | Subresource::Proxy => {
            let methods: &[&str] = match s {
                Subresource::Proxy => &["delete", "get", "head", "options", "patch", "post", "put"],
                _ => &["get", "post"],
            };
            let item = |suffix: &str| {
                let op = |method: &str| {
                    let id = format!("connect{gv}{}{placed}{name}{suffix}", capital(method));
                    let text = format!(
                        "connect {} requests to {} of {}",
                        method.to_uppercase(),
                        s.path(),
                        kind.kind
                    );
                    (method.to_owned(), of.about(Action::Connect, id, text, gvk, (None, None), &[]))
                };
                of.place(methods.iter().map(|m| op(m)).collect(), Some(gvk.2), stream_parameters(s))
            };
            paths.insert(path.to_owned(), item(""));
            if s == Subresource::Proxy {
                let mut rest = item("WithPath");
                if let Some(all) = rest["parameters"].as_array_mut() {
                    all.push(parameters::rest_of_path(of.dialect));
                }
                paths.insert(format!("{path}/{{path}}"), rest);
            }
        }
        Subresource::Log => {
            let text = format!("read log of the specified {}", kind.kind);
            let op = of.about(Action::Log, format!("read{gv}{placed}Log"), text, gvk, (None, None), &[]);
            paths
                .insert(path.to_owned(), of.place(json!({"get": op}), Some(kind.kind), stream_parameters(s)));
        }
        _ => {
            let verbs = s.verbs();
            // What can be done in one way only takes its parameters for the whole path.
            let alone = verbs.len() == 1;
            let mut item = json!({});
            for verb in verbs {
                let (method, action, sent, names, text) = match *verb {
                    "get" => ("get", Action::Get, None, &[][..], "read"),
                    "update" => ("put", Action::Put, body.as_deref(), parameters::WRITE, "replace"),
                    "patch" => (
                        "patch",
                        Action::Patch,
                        Some(operation::PATCH),
                        parameters::PATCH,
                        "partially update",
                    ),
                    _ => ("post", Action::Post, body.as_deref(), parameters::WRITE, "create"),
                };
                let text = match action {
                    Action::Post => format!("create {} of {} {}", s.path(), article(kind.kind), kind.kind),
                    _ => format!("{text} {} of the specified {}", s.path(), kind.kind),
                };
                let id = format!("{}{gv}{placed}{name}", action.verb());
                let names = if alone { &[] } else { names };
                item[method] = of.about(action, id, text, gvk, (sent, body.as_deref()), names);
            }
            // A body of its own kind gives its name to the parameter.
            let named = if gvk.2 == kind.kind { kind.kind } else { gvk.2 };
            let shared: Vec<&str> = if alone {
                parameters::WRITE.iter().copied().chain(["pretty"]).collect()
            } else {
                vec!["pretty"]
            };
            paths.insert(path.to_owned(), of.place(item, Some(named), &shared));
        }
    }
}

/// Adds the path of what can be posted and nothing else.
pub fn add_created_only(created: &CreatedOnly, dialect: Dialect, paths: &mut Map<String, Value>) {
    let (group, kind, namespaced) = (created.group, created.kind, created.namespaced);
    let of = Of { group, version: "v1", kind, namespaced, dialect };
    let own = created.type_name();
    let op = of.operation(
        Action::Post,
        format!("create{}{}", of.group_version(), of.placed()),
        format!("create {} {kind}", article(kind)),
        (Some(&own), Some(&own)),
        &[],
    );
    let shared: Vec<&str> = parameters::WRITE.iter().copied().chain(["pretty"]).collect();
    let place = if namespaced { "namespaces/{namespace}/" } else { "" };
    let path = format!("{}/{place}{}", root(group, "v1"), created.plural);
    paths.insert(path, of.place(json!({"post": op}), None, &shared));
}

/// Adds the path that tells what a version of a group has.
pub fn add_resources(group: &str, version: &str, dialect: Dialect, paths: &mut Map<String, Value>) {
    let of = Of { group, version, kind: "", namespaced: false, dialect };
    let id = format!("get{}APIResources", of.group_version());
    let answer = full_name("meta.v1.APIResourceList");
    let item = operation::about(&id, &of.tag(), "get available resources", Some(&answer), dialect);
    paths.insert(format!("{}/", root(group, version)), item);
}

/// Adds the path that tells which versions a group has.
pub fn add_group(group: &str, dialect: Dialect, paths: &mut Map<String, Value>) {
    let stem = stem(group);
    let item = if group.is_empty() {
        let answer = full_name("meta.v1.APIVersions");
        operation::about("getCoreAPIVersions", &stem, "get available API versions", Some(&answer), dialect)
    } else {
        let answer = full_name("meta.v1.APIGroup");
        let id = format!("get{}APIGroup", capital(&stem));
        operation::about(&id, &stem, "get information of a group", Some(&answer), dialect)
    };
    let path = if group.is_empty() { "/api/".to_owned() } else { format!("/apis/{group}/") };
    paths.insert(path, item);
}

/// Paths of the server as a whole: what each is for, its name, its tag, its answer.
const WHOLE: [(&str, &str, &str, &str, Option<&str>); 4] = [
    (
        "/.well-known/openid-configuration/",
        "getServiceAccountIssuerOpenIDConfiguration",
        "WellKnown",
        "get the provider metadata of the issuer of service account tokens",
        None,
    ),
    (
        "/openid/v1/jwks/",
        "getServiceAccountIssuerOpenIDKeyset",
        "openid",
        "get the public keys that service account tokens are verified with",
        None,
    ),
    (
        "/version/",
        "getCodeVersion",
        "version",
        "get the version information for this server",
        Some("io.k8s.apimachinery.pkg.version.Info"),
    ),
    (
        "/apis/",
        "getAPIVersions",
        "apis",
        "get available API versions",
        Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList"),
    ),
];

/// Adds the paths of the server as a whole.
pub fn add_whole(dialect: Dialect, paths: &mut Map<String, Value>) {
    for (path, id, tag, description, answer) in WHOLE {
        paths.insert(path.to_owned(), operation::about(id, tag, description, answer, dialect));
    }
}
