//! Validation of what is done to containers: probes, hooks of their lives, signals to stop them
//! (`pkg/apis/core/validation/validation.go`).

use serde_json::Value;

use super::fields::{self, below, int, list, required, set, set_text, text};
use crate::field::{ErrorList, Path};
use crate::names;

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const OF_PROBES: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const OF_LIVES: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];
const WINDOWS_SIGNALS: &[&str] = &["SIGKILL", "SIGTERM"];
const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Reasons to refuse the probes and hooks of a container of a pod with this spec.
pub fn validate(c: &Value, spec: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(l) = set(c, "lifecycle") {
        let path = path.child("lifecycle");
        for hook in ["postStart", "preStop"] {
            if let Some(h) = set(l, hook) {
                handler(h, OF_LIVES, spec, &path.child(hook), errors);
            }
        }
        if let Some(signal) = set_text(l, "stopSignal") {
            stop_signal(signal, text(below(spec, "os"), "name"), &path.child("stopSignal"), errors);
        }
    }
    for name in PROBES {
        if let Some(p) = set(c, name) {
            probe(p, name, spec, &path.child(name), errors);
        }
    }
}

/// An init container that ends by itself has none of these.
pub fn forbid(c: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["lifecycle"].into_iter().chain(PROBES) {
        if set(c, field).is_some() {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.forbidden(&path.child(field), why);
        }
    }
}

fn probe(p: &Value, name: &str, spec: &Value, path: &Path, errors: &mut ErrorList) {
    handler(p, OF_PROBES, spec, path, errors);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errors.non_negative(&path.child(field), int(p, field));
    }
    let grace = set(p, "terminationGracePeriodSeconds").map(|_| int(p, "terminationGracePeriodSeconds"));
    let at = path.child("terminationGracePeriodSeconds");
    if let Some(n) = grace.filter(|n| *n <= 0) {
        errors.invalid(&at, n, "must be greater than 0");
    }
    if name == "readinessProbe" {
        if let Some(n) = grace {
            errors.invalid(&at, n, "must not be set for readinessProbes");
        }
    } else if int(p, "successThreshold") != 1 {
        errors.invalid(&path.child("successThreshold"), int(p, "successThreshold"), "must be 1");
    }
}

fn handler(h: &Value, kinds: &[&str], spec: &Value, path: &Path, errors: &mut ErrorList) {
    let mut found = false;
    for kind in kinds {
        let Some(action) = set(h, kind) else { continue };
        let at = path.child(kind);
        if found {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" if list(action, "command").is_empty() => errors.required(&at.child("command"), ""),
            "httpGet" => http_get(action, &at, errors),
            "tcpSocket" | "grpc" => port(below(action, "port"), &at.child("port"), errors),
            "sleep" => sleep(action, spec, &at, errors),
            _ => {}
        }
    }
    if !found {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(action: &Value, path: &Path, errors: &mut ErrorList) {
    required(action, "path", path, errors);
    port(below(action, "port"), &path.child("port"), errors);
    let scheme = text(action, "scheme");
    if !["HTTP", "HTTPS"].contains(&scheme) {
        errors.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in list(action, "httpHeaders") {
        let name = text(header, "name");
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(&path.child("httpHeaders"), name, why);
        }
    }
}

fn sleep(action: &Value, spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (seconds, grace) = (int(action, "seconds"), int(spec, "terminationGracePeriodSeconds"));
    if set(spec, "terminationGracePeriodSeconds").is_some() && !(0..=grace).contains(&seconds) {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, seconds, why);
    }
}

/// Reasons to refuse a port, by number or by name.
pub fn port(port: &Value, path: &Path, errors: &mut ErrorList) {
    match port.as_str() {
        Some(name) => errors.invalid_all(path, name, names::port_name(name)),
        None => {
            let n = port.as_i64().unwrap_or(0);
            for why in names::port_number(n) {
                errors.invalid(path, n, why);
            }
        }
    }
}

fn stop_signal(signal: &str, os: &str, path: &Path, errors: &mut ErrorList) {
    let known = match os {
        "" => {
            errors.forbidden(path, "may not be set for containers with empty `spec.os.name`");
            return;
        }
        "windows" => WINDOWS_SIGNALS,
        "linux" => SIGNALS,
        _ => return,
    };
    if !known.contains(&signal) {
        errors.not_supported(path, signal, known);
    }
}

/// Reasons to refuse when a container is started again, by its own policy.
pub fn restart_policy(c: &Value, path: &Path, errors: &mut ErrorList) {
    let rules = list(c, "restartPolicyRules");
    match set_text(c, "restartPolicy") {
        None if rules.is_empty() => return,
        None => {
            let why = "must specify restartPolicy when restart rules are used";
            errors.required(&path.child("restartPolicy"), why);
        }
        Some(_) => fields::word(c, "restartPolicy", &["Always", "Never", "OnFailure"], path, errors),
    }
    let at = path.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.too_many(&at, rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = at.index(i);
        let (action, known) = (text(rule, "action"), ["Restart", "RestartAllContainers"]);
        if !known.contains(&action) {
            errors.not_supported(&at.child("action"), action, &known);
        }
        let at = at.child("exitCodes");
        let Some(codes) = set(rule, "exitCodes") else {
            errors.required(&at, "must be specified");
            continue;
        };
        if !["In", "NotIn"].contains(&text(codes, "operator")) {
            errors.not_supported(&at.child("operator"), text(codes, "operator"), &["In", "NotIn"]);
        }
        let values = list(codes, "values").len();
        if values > 255 {
            errors.too_many(&at.child("values"), values, 255);
        }
    }
}
