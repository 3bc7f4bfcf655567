//! As much of HTTP/1.1 as probes, `wget` and load generators use: one thread a connection, keep-alive, no bodies in.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::state::State;

/// The longest request head, and the longest body that is skipped.
const LIMIT: u64 = 64 * 1024;

struct Request {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    close: bool,
}

struct Response {
    status: &'static str,
    body: String,
}

impl Response {
    fn ok(body: impl Into<String>) -> Self {
        Self { status: "200 OK", body: body.into() }
    }
    fn error(status: &'static str) -> Self {
        Self { status, body: format!("{status}\n") }
    }
}

/// Accepts connections for ever.
pub fn serve(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let state = state.clone();
                thread::spawn(move || {
                    if let Err(e) = connection(&stream, &state) {
                        // Clients come and go as they like.
                        if state.log_requests {
                            println!("connection ended: {e}");
                        }
                    }
                });
            }
            Err(e) => eprintln!("hello: accepting: {e}"),
        }
    }
}

fn connection(stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let active = state.enter();
        let response = answer(&request, state);
        if state.log_requests {
            println!("{} {} {}", request.method, request.path, &response.status[..3]);
        }
        let close = request.close || state.draining();
        let mut writer = stream;
        write!(
            writer,
            "HTTP/1.1 {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: {}\r\n\r\n{}",
            response.status,
            response.body.len(),
            if close { "close" } else { "keep-alive" },
            if request.method == "HEAD" { "" } else { &response.body },
        )?;
        drop(active);
        if close {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request; `None` when the client has closed.
fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(LIMIT);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP request"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.split('&').filter(|p| !p.is_empty()).map(parameter).collect(),
        close: version == "HTTP/1.0",
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "connection" => request.close = value.trim().eq_ignore_ascii_case("close"),
            "content-length" => length = value.trim().parse::<u64>().unwrap_or(0).min(LIMIT),
            _ => {}
        }
    }
    io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    Ok(Some(request))
}

fn parameter(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), unescape(value))
}

/// Undoes percent encoding; what is not well formed stays as it is.
fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let escaped = hex.filter(|_| byte == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        out.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Request {
    fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name).and_then(|v| v.parse().ok()).unwrap_or(default)
    }
    fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

fn answer(request: &Request, state: &State) -> Response {
    match request.path.as_str() {
        "/" => Response::ok(greeting(state)),
        "/healthz" => Response::ok("ok\n"),
        "/readyz" if state.ready() => Response::ok("ok\n"),
        "/readyz" => Response::error("503 Service Unavailable"),
        "/version" => Response::ok(format!("{}\n", state.version)),
        "/env" => {
            let mut all: Vec<_> = std::env::vars_os().collect();
            all.sort();
            Response::ok(all.iter().fold(String::new(), |mut text, (name, value)| {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}={}", name.display(), value.display());
                text
            }))
        }
        "/delay" => {
            let ms = request.number("ms", 1000);
            thread::sleep(Duration::from_millis(ms));
            Response::ok(format!("waited {ms} ms\n"))
        }
        "/log" => {
            let n = request.number("n", 1);
            for number in 1..=n {
                println!("{} {number}", request.text("line").unwrap_or("line"));
            }
            Response::ok(format!("logged {n} lines\n"))
        }
        "/fail-readiness" if request.method != "POST" => Response::error("405 Method Not Allowed"),
        "/fail-readiness" => {
            state.fail_readiness(Duration::from_secs(request.number("seconds", 30)));
            Response::ok("not ready\n")
        }
        "/alloc" => {
            let mb = usize::try_from(request.number("mb", 1)).unwrap_or(1);
            Response::ok(format!("{} MB taken\n", state.hoard(mb)))
        }
        "/crash" => {
            println!("hello crashes as ordered");
            exit(i32::try_from(request.number("code", 1)).unwrap_or(1));
        }
        _ => Response::error("404 Not Found"),
    }
}

fn greeting(state: &State) -> String {
    let mut text = format!("Hello from {}, version {}\n", state.host, state.version);
    for name in &state.show {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={}", std::env::var(name).unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(unescape("a%20b+c"), "a b c");
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%4"), "%zz%4");
    }
}
