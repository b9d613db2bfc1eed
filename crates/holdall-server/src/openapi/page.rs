//! The document as a page for people.
//!
//! It is written here once, when the server starts, so it needs no scripts, and
//! its policy can forbid all but its own style sheet.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

/// The page takes its own style sheet, and nothing else from anywhere. Its icon
/// is empty and stands in it, or browsers would ask for one.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const LOOK: &[u8] = include_bytes!("page.css");

/// The document, for programs and for people.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    json: Bytes,
    html: Bytes,
}

impl Pages {
    pub(crate) fn of(document: &OpenApi) -> Self {
        // All in it are strings, numbers and maps of strings: it can be written.
        let value = serde_json::to_value(document).unwrap_or_default();
        Self {
            json: value.to_string().into(),
            html: Page::write(&value).into(),
        }
    }

    pub(crate) fn document(&self) -> Response {
        answer("application/json", self.json.clone())
    }

    pub(crate) fn page(&self) -> Response {
        answer("text/html; charset=utf-8", self.html.clone())
    }

    pub(crate) fn look() -> Response {
        answer("text/css; charset=utf-8", Bytes::from_static(LOOK))
    }
}

/// What is the same until the server is another one.
fn answer(kind: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page that is being written.
struct Page<'a> {
    document: &'a Value,
    html: String,
}

/// The order in which the methods of a path are shown.
const METHODS: [&str; 5] = ["get", "head", "put", "post", "delete"];

impl<'a> Page<'a> {
    fn write(document: &'a Value) -> String {
        let mut page = Self {
            document,
            html: String::new(),
        };
        page.head();
        for tag in list(document, "tags") {
            page.group(tag);
        }
        page.schemas();
        page.html.push_str("</main>\n");
        page.html
    }

    fn raw(&mut self, html: &str) {
        self.html.push_str(html);
    }

    /// Text in which what stands in backticks is code.
    fn prose(&mut self, text: &str) {
        for (at, part) in text.split('`').enumerate() {
            let part = escape(part);
            let written = if at % 2 == 1 {
                write!(self.html, "<code>{part}</code>")
            } else {
                write!(self.html, "{part}")
            };
            debug_assert!(written.is_ok());
        }
    }

    fn paragraphs(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|text| !text.is_empty()) {
            self.raw("<p>");
            self.prose(paragraph);
            self.raw("</p>\n");
        }
    }

    fn head(&mut self) {
        let info = &self.document["info"];
        let (title, version) = (escape(text(info, "title")), escape(text(info, "version")));
        self.raw(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"stylesheet\" href=\"/docs/style.css\">\n\
             <link rel=\"icon\" href=\"data:,\">\n",
        );
        self.raw(&format!("<title>{title} over HTTP</title>\n<header>\n"));
        self.raw(&format!(
            "<h1>{title} <span class=\"faint\">{version}</span></h1>\n"
        ));
        self.paragraphs(text(info, "description"));
        self.raw("<p>For programs, the same is <a href=\"/openapi.json\">/openapi.json</a>, an OpenAPI document.</p>\n</header>\n<nav aria-label=\"Groups of calls\"><ul>\n");
        for tag in list(self.document, "tags") {
            let name = text(tag, "name");
            self.raw(&format!(
                "<li><a href=\"#{}\">{}</a></li>\n",
                anchor(name),
                escape(name)
            ));
        }
        self.raw("<li><a href=\"#shapes\">Shapes</a></li>\n</ul></nav>\n<main>\n");
    }

    fn group(&mut self, tag: &Value) {
        let name = text(tag, "name");
        self.raw(&format!(
            "<section><h2 id=\"{}\">{}</h2>\n",
            anchor(name),
            escape(name)
        ));
        self.paragraphs(text(tag, "description"));
        for (path, item) in members(&self.document["paths"]) {
            for method in METHODS {
                let Some(operation) = item.get(method) else {
                    continue;
                };
                if list(operation, "tags").any(|tag| tag.as_str() == Some(name)) {
                    self.operation(method, path, operation);
                }
            }
        }
        self.raw("</section>\n");
    }

    fn operation(&mut self, method: &str, path: &str, operation: &Value) {
        self.raw(&format!(
            "<details><summary><span class=\"method {method}\">{}</span>\
             <code class=\"path\">{}</code><span class=\"what\">",
            method.to_uppercase(),
            escape(path)
        ));
        self.prose(text(operation, "summary"));
        // The name stands inside, so that a link to it opens the details.
        let id = escape(text(operation, "operationId"));
        self.raw(&format!("</span></summary><div id=\"{id}\">\n"));
        self.paragraphs(text(operation, "description"));
        for (place, title) in [
            ("path", "In the path"),
            ("query", "In the query string"),
            ("header", "In headers"),
        ] {
            self.parameters(operation, place, title);
        }
        if let Some(body) = operation.get("requestBody") {
            let needed = body["required"].as_bool() == Some(true);
            let title = if needed {
                "Content"
            } else {
                "Content, which may be left out"
            };
            self.raw(&format!("<h3>{title}</h3>\n"));
            self.contents(&body["content"]);
        }
        self.raw("<h3>Answers</h3>\n<dl>\n");
        for (status, response) in members(&operation["responses"]) {
            self.response(status, self.resolved(response));
        }
        self.raw("</dl>\n</div></details>\n");
    }

    fn parameters(&mut self, operation: &Value, place: &str, title: &str) {
        let mut any = false;
        for parameter in list(operation, "parameters") {
            if text(parameter, "in") != place {
                continue;
            }
            if !any {
                self.raw(&format!("<h3>{title}</h3>\n<dl>\n"));
                any = true;
            }
            let needed = parameter["required"].as_bool() == Some(true) && place != "path";
            self.entry(
                text(parameter, "name"),
                &parameter["schema"],
                needed,
                text(parameter, "description"),
            );
        }
        if any {
            self.raw("</dl>\n");
        }
    }

    /// A name, what it holds, and what it is for.
    fn entry(&mut self, name: &str, schema: &Value, needed: bool, what: &str) {
        self.raw(&format!("<dt><code>{}</code> ", escape(name)));
        self.raw("<span class=\"faint\">");
        self.kind(schema);
        self.raw(if needed {
            ", needed</span></dt><dd>"
        } else {
            "</span></dt><dd>"
        });
        self.prose(what);
        self.raw("</dd>\n");
    }

    fn contents(&mut self, content: &Value) {
        self.raw("<dl>\n");
        for (kind, media) in members(content) {
            self.raw(&format!("<dt><code>{}</code></dt><dd>", escape(kind)));
            self.kind(&media["schema"]);
            self.raw("</dd>\n");
        }
        self.raw("</dl>\n");
    }

    fn response(&mut self, status: &str, response: &Value) {
        self.raw(&format!("<dt><strong>{}</strong> ", escape(status)));
        self.prose(text(response, "description"));
        self.raw("</dt><dd class=\"faint\">");
        for (kind, media) in members(&response["content"]) {
            self.raw(&format!("<code>{}</code> ", escape(kind)));
            self.kind(&media["schema"]);
            self.raw("<br>\n");
        }
        let headers: Vec<_> = members(&response["headers"])
            .map(|(name, _)| format!("<code>{}</code>", escape(name)))
            .collect();
        if !headers.is_empty() {
            self.raw(&format!("with {}", headers.join(", ")));
        }
        self.raw("</dd>\n");
    }

    /// In a few words, what a schema takes.
    fn kind(&mut self, schema: &Value) {
        if let Some(name) = name_of(schema) {
            self.raw(&format!("<a href=\"#shape-{0}\">{0}</a>", escape(name)));
            return;
        }
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            self.several(choices.iter(), " or ");
            return;
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let values = values.iter().map(|value| match value.as_str() {
                Some(text) => format!("<code>{}</code>", escape(text)),
                None => format!("<code>{}</code>", escape(&value.to_string())),
            });
            let values = values.collect::<Vec<_>>().join(", ");
            self.raw(&values);
            return;
        }
        if let Some(of) = schema.get("contentSchema") {
            self.raw("a sequence of ");
            self.kind(of);
            return;
        }
        match &schema["type"] {
            Value::String(kind) if kind == "array" => {
                self.raw("a list of ");
                self.kind(&schema["items"]);
            }
            Value::String(kind) => self.raw(&escape(word(schema, kind))),
            Value::Array(kinds) => {
                let kinds: Vec<_> = kinds
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|kind| word(schema, kind))
                    .collect();
                self.raw(&escape(&kinds.join(" or ")));
            }
            _ => self.raw("any JSON"),
        }
        self.limits(schema);
    }

    fn several<'b>(&mut self, schemas: impl Iterator<Item = &'b Value>, between: &str) {
        for (at, schema) in schemas.enumerate() {
            if at > 0 {
                self.raw(between);
            }
            self.kind(schema);
        }
    }

    fn limits(&mut self, schema: &Value) {
        for (least, most, of) in [
            ("minLength", "maxLength", " characters"),
            ("minItems", "maxItems", ""),
            ("minimum", "maximum", ""),
        ] {
            // That numbers start at 0 goes without saying.
            let least = schema[least].as_u64().filter(|least| *least > 0);
            let said = match (least, schema[most].as_u64()) {
                (None, None) => continue,
                (Some(least), None) => format!(", at least {least}{of}"),
                (None, Some(most)) => format!(", at most {most}{of}"),
                (Some(least), Some(most)) => format!(", {least} to {most}{of}"),
            };
            self.raw(&said);
        }
        if let Some(value) = schema.get("default") {
            let value = escape(&value.to_string());
            self.raw(&format!(", by default <code>{value}</code>"));
        }
    }

    fn schemas(&mut self) {
        self.raw("<section><h2 id=\"shapes\">Shapes</h2>\n<p>What JSON, parameters and headers hold.</p>\n");
        for (name, schema) in members(self.at("/components/schemas")) {
            let name = escape(name);
            self.raw(&format!(
                "<details><summary><code class=\"path\">{name}</code>\
                 <span class=\"what\">"
            ));
            let what = text(schema, "description");
            self.prose(what.split(['.', ':']).next().unwrap_or_default());
            self.raw(&format!("</span></summary><div id=\"shape-{name}\">\n"));
            self.paragraphs(what);
            if schema.get("properties").is_none() {
                self.raw("<p>");
                self.kind(schema);
                self.raw("</p>\n");
            } else {
                self.raw("<dl>\n");
                for (member, inner) in members(&schema["properties"]) {
                    let needed = list(schema, "required").any(|name| name == member);
                    self.entry(member, inner, needed, described(inner));
                }
                self.raw("</dl>\n");
            }
            self.raw("</div></details>\n");
        }
        self.raw("</section>\n");
    }

    fn at(&self, pointer: &str) -> &'a Value {
        self.document.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// What a reference leads to; all else is itself.
    fn resolved(&self, value: &'a Value) -> &'a Value {
        let target = value.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|target| target.strip_prefix('#'));
        target
            .and_then(|target| self.document.pointer(target))
            .unwrap_or(value)
    }
}

/// What a member is for; of a member that may be null, it stands further in.
fn described(schema: &Value) -> &str {
    let own = text(schema, "description");
    if !own.is_empty() {
        return own;
    }
    let mut choices = list(schema, "oneOf").map(|choice| text(choice, "description"));
    choices.find(|text| !text.is_empty()).unwrap_or_default()
}

/// The schema that is referred to, by its name.
fn name_of(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// A type in a word.
fn word<'a>(schema: &'a Value, kind: &'a str) -> &'a str {
    match (kind, text(schema, "format")) {
        ("string", "binary") => "bytes",
        ("string", "uuid") => "UUID",
        ("string", "date-time") => "date and time",
        ("string", _) => "text",
        ("integer", _) => "number",
        (other, _) => other,
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let list = value.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default().iter()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().into_iter().flat_map(Map::iter);
    members.map(|(name, value)| (name.as_str(), value))
}

fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
