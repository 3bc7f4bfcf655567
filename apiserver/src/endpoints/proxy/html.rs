//! Pages that come through the proxy: their links are led through it too.
//!
//! A page is changed while it streams, packed or not, in bounded memory: one that needs more (a tag of a megabyte) goes
//! on unchanged from there. Pages are taken for UTF-8, as upstream takes them.

use std::mem;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Response, header};
use lol_html::send::{Element, HtmlRewriter, Settings};
use lol_html::{MemorySettings, element};
use parking_lot::Mutex;

use super::links::Proxy;
use super::packing::Packing;

/// What a page may take while it is changed.
const MAX_MEMORY: usize = 1024 * 1024;

/// Which attributes of which tags are links; upstream's table.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

type Out = Arc<Mutex<Vec<u8>>>;

/// Leads the links of an answer through the proxy, if it is a page that can be read.
pub fn rewrite(mut answer: Response<Body>, proxy: &Proxy) -> Response<Body> {
    let text = |name| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or("").trim();
    if media != "text/html" {
        return answer;
    }
    let encoding = text(header::CONTENT_ENCODING);
    let Some(packing) = Packing::of(encoding) else {
        tracing::debug!(encoding, "a proxied page is packed in an unknown way and left as it is");
        return answer;
    };
    // It is not known any more.
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    let proxy = proxy.clone();
    answer.map(|body| {
        let page = Page::new(proxy, packing, body.into_data_stream());
        Body::from_stream(stream::unfold(page, |mut page| async move {
            page.next().await.map(|piece| (piece, page))
        }))
    })
}

/// What collects the changed page.
type Sink = Box<dyn FnMut(&[u8]) + Send>;
type Rewriter = HtmlRewriter<'static, Sink>;

struct Page {
    /// Gone when the page could not be read on: the rest passes unchanged.
    rewriter: Option<Rewriter>,
    out: Out,
    packing: Packing,
    body: BodyDataStream,
    waiting: Bytes,
    ended: bool,
}

impl Page {
    fn new(proxy: Proxy, packing: Packing, body: BodyDataStream) -> Self {
        let out = Out::default();
        let sink = out.clone();
        let sink: Sink = Box::new(move |piece| sink.lock().extend_from_slice(piece));
        let memory = MemorySettings::new()
            .with_max_allowed_memory_usage(MAX_MEMORY)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let lead = move |tag: &mut Element<'_, '_>| {
            lead(&proxy, tag);
            Ok(())
        };
        let settings = Settings::new_send()
            .with_strict(false)
            .with_memory_settings(memory)
            .append_element_content_handler(element!("*", lead));
        let rewriter = Some(HtmlRewriter::new(settings, sink));
        Self { rewriter, out, packing, body, waiting: Bytes::new(), ended: false }
    }

    /// The next piece of the changed page; after an error nothing comes.
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        loop {
            if self.ended {
                return None;
            }
            let step = match self.step().await {
                Ok(piece) => piece,
                Err(e) => {
                    self.ended = true;
                    return Some(Err(e));
                }
            };
            if !step.is_empty() {
                return Some(Ok(step.into()));
            }
        }
    }

    /// Takes in a little more.
    async fn step(&mut self) -> std::io::Result<Vec<u8>> {
        if self.waiting.is_empty() {
            match self.body.next().await {
                Some(piece) => self.waiting = piece.map_err(std::io::Error::other)?,
                None => return self.end(),
            }
        }
        let some = self.waiting.split_to(self.waiting.len().min(self.packing.step()));
        let plain = self.packing.unpack(&some)?;
        self.put(&plain);
        let changed = mem::take(&mut *self.out.lock());
        self.packing.pack(changed, false)
    }

    fn end(&mut self) -> std::io::Result<Vec<u8>> {
        self.ended = true;
        let plain = self.packing.unpack_rest()?;
        self.put(&plain);
        if let Some(rewriter) = self.rewriter.take()
            && let Err(e) = rewriter.end()
        {
            tracing::debug!(error = %e, "the end of a proxied page is left as it is");
        }
        let changed = mem::take(&mut *self.out.lock());
        self.packing.pack(changed, true)
    }

    fn put(&mut self, plain: &[u8]) {
        match &mut self.rewriter {
            None => self.out.lock().extend_from_slice(plain),
            Some(rewriter) => {
                if let Err(e) = rewriter.write(plain) {
                    // What it held back, and this piece, it has put out as they are.
                    tracing::debug!(error = %e, "the rest of a proxied page is left as it is");
                    self.rewriter = None;
                }
            }
        }
    }
}

fn lead(proxy: &Proxy, tag: &mut Element<'_, '_>) {
    let name = tag.tag_name();
    let Some((_, links)) = LINKS.iter().find(|(tag, _)| *tag == name) else { return };
    for link in *links {
        let led = tag.get_attribute(link).and_then(|text| proxy.rewritten(&text));
        if let Some(led) = led
            && let Err(e) = tag.set_attribute(link, &led)
        {
            tracing::debug!(error = %e, "a link of a proxied page is left as it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::read::{DeflateDecoder, GzDecoder};
    use flate2::write::{DeflateEncoder, GzEncoder};
    use http::HeaderValue;
    use http_body_util::BodyExt;

    use super::*;

    fn proxy() -> Proxy {
        Proxy { prefix: "/p/proxy".into(), place: "10.0.0.1:80".into(), asked: None }
    }

    fn answer(media: &'static str, pieces: Vec<Vec<u8>>) -> Response<Body> {
        let pieces = pieces.into_iter().map(|p| Ok::<_, std::io::Error>(Bytes::from(p)));
        let mut r = Response::new(Body::from_stream(stream::iter(pieces)));
        r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        r.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        r
    }

    async fn read(answer: Response<Body>) -> Vec<u8> {
        answer.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    const PAGE: &str = "<!doctype html><html manifest=/m><head><link HREF='/a.css?x=1&amp;y'><script src=b.js></script>\
        <script>var a = '<a href=\"/no\">';</script></head><body><!-- <a href=\"/no\"> --><a href=\"/a\" title=\"/no\">\
        <img src=\"http://10.0.0.1:80/i.png\"><a href=\"http://elsewhere/\">x<p data-href=\"/no\">\u{fc}</p><a href=\"/z\"";

    const CHANGED: &str = "<!doctype html><html manifest=\"/p/proxy/m\"><head><link HREF=\"/p/proxy/a.css?x=1&amp;y\"><script src=b.js></script>\
        <script>var a = '<a href=\"/no\">';</script></head><body><!-- <a href=\"/no\"> --><a href=\"/p/proxy/a\" title=\"/no\">\
        <img src=\"/p/proxy/i.png\"><a href=\"http://elsewhere/\">x<p data-href=\"/no\">\u{fc}</p><a href=\"/z\"";

    #[tokio::test]
    async fn links_are_led_wherever_the_page_is_cut() {
        for size in [1, 3, 7, 4096] {
            let pieces = PAGE.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let r = rewrite(answer("text/html; charset=utf-8", pieces), &proxy());
            assert!(!r.headers().contains_key(header::CONTENT_LENGTH));
            let text = String::from_utf8(read(r).await).unwrap();
            assert_eq!(text.to_lowercase(), CHANGED.to_lowercase(), "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn packed_pages_are_unpacked_and_packed_again() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(PAGE.as_bytes()).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(PAGE.as_bytes()).unwrap();
        for (encoding, packed) in [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())] {
            let send = |packed: &[u8]| {
                let mut r = answer("text/html", packed.chunks(9).map(<[u8]>::to_vec).collect());
                r.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
                rewrite(r, &proxy())
            };
            let got = read(send(&packed)).await;
            let mut text = String::new();
            match encoding {
                "gzip" => GzDecoder::new(&*got).read_to_string(&mut text).unwrap(),
                _ => DeflateDecoder::new(&*got).read_to_string(&mut text).unwrap(),
            };
            assert_eq!(text.to_lowercase(), CHANGED.to_lowercase(), "{encoding}");
            // A page that was cut is not taken for a whole one, where the packing tells.
            let cut = send(&packed[..packed.len() / 2]).into_body().collect().await;
            assert!(cut.is_err() || encoding == "deflate");
        }
    }

    #[tokio::test]
    async fn what_is_no_page_is_left_as_it_is() {
        let text = b"<a href=\"/a\">".to_vec();
        let r = rewrite(answer("text/plain", vec![text.clone()]), &proxy());
        assert!(r.headers().contains_key(header::CONTENT_LENGTH));
        assert_eq!(read(r).await, text);
        let mut unknown = answer("text/html", vec![text.clone()]);
        unknown.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(read(rewrite(unknown, &proxy())).await, text);
    }

    #[tokio::test]
    async fn a_page_that_takes_too_much_goes_on_unchanged() {
        let huge = format!("<a href=\"/a\">x</a><a href=\"/b{}", "y".repeat(3 * MAX_MEMORY));
        let page = format!("{huge}\">z</a><a href=\"/c\">");
        let pieces = page.as_bytes().chunks(10_000).map(<[u8]>::to_vec).collect();
        let got = String::from_utf8(read(rewrite(answer("text/html", pieces), &proxy())).await).unwrap();
        assert!(got.starts_with("<a href=\"/p/proxy/a\">x</a><a href=\"/by"), "{}", &got[..60]);
        assert!(got.ends_with("y\">z</a><a href=\"/c\">"), "{}", &got[got.len() - 60..]);
        assert_eq!(got.len(), page.len() + "/p/proxy".len());
    }
}
