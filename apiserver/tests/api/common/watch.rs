//! Reads the events of a watch.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;

/// How long an event may take.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    pub fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new() }
    }

    /// The next event; `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("no event within {DEADLINE:?}"))?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The next event as (type, object).
    pub async fn event(&mut self) -> (String, Value) {
        let mut e = self.next().await.expect("the watch has ended");
        (e["type"].as_str().unwrap().to_owned(), e["object"].take())
    }

    /// The next event, short: `ADDED name`.
    pub async fn short(&mut self) -> String {
        let (kind, object) = self.event().await;
        format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or("-"))
    }

    /// The next `n` events, short.
    pub async fn shorts(&mut self, n: usize) -> Vec<String> {
        let mut out = Vec::new();
        for _ in 0..n {
            out.push(self.short().await);
        }
        out
    }
}
