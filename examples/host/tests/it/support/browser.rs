//! A browser: it keeps cookies and fills in the simulator's forms, one page at a time.

use std::collections::{BTreeMap, HashMap};

use reqwest::{
    Client, Url,
    header::{self, HeaderMap},
};

use super::host::client;

const PAGES: usize = 12;

/// Who sits in front of it.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    username: String,
    allows: bool,
}

impl Person {
    pub(crate) fn new(username: &str) -> Self {
        Self {
            username: username.to_owned(),
            allows: true,
        }
    }

    /// Says no to what is asked.
    pub(crate) fn denies(self) -> Self {
        Self {
            allows: false,
            ..self
        }
    }
}

/// A page, or a redirect.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where the browser is sent on to.
    pub(crate) next: Option<Url>,
    pub(crate) text: String,
}

impl Page {
    /// A page of the host's that says this code, and sends the browser nowhere.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.next.is_none(), "{self:?}");
        assert!(
            self.text.contains(&format!("<code>{code}</code>")),
            "{}",
            self.text
        );
        let kind = self.headers[header::CONTENT_TYPE].to_str().unwrap();
        assert!(kind.starts_with("text/html"), "{kind}");
        for tag in ["<a ", "<form", "<script"] {
            assert!(!self.text.contains(tag), "{}", self.text);
        }
    }
}

/// Where a walk ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Before this URL was opened.
    Before(Url),
    /// On a page without a form for this person.
    On(Page),
}

impl End {
    #[track_caller]
    pub(crate) fn url(self) -> Url {
        match self {
            Self::Before(url) => url,
            Self::On(page) => panic!("the browser rests on {}: {}", page.status, page.text),
        }
    }

    #[track_caller]
    pub(crate) fn page(self) -> Page {
        match self {
            Self::On(page) => page,
            Self::Before(url) => panic!("the browser left for {url}"),
        }
    }
}

/// Cookies are kept by origin.
#[derive(Clone)]
pub(crate) struct Browser {
    http: Client,
    jar: HashMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self::with(client())
    }

    /// One that shares connections with others, but no cookies.
    pub(crate) fn with(http: Client) -> Self {
        Self {
            http,
            jar: HashMap::new(),
        }
    }

    pub(crate) async fn open(&mut self, url: &Url) -> reqwest::Result<Page> {
        self.load(url, None).await
    }

    /// Goes on from `url`, over redirects and forms, until the next URL is one to stop before or there is no next one.
    pub(crate) async fn walk(
        &mut self,
        url: &str,
        person: &Person,
        stop: impl Fn(&Url) -> bool,
    ) -> reqwest::Result<End> {
        let mut url = Url::parse(url).unwrap();
        let mut form = None;
        for _ in 0..PAGES {
            if stop(&url) {
                return Ok(End::Before(url));
            }
            let page = self.load(&url, form.take()).await?;
            if let Some(next) = page.next {
                url = next;
                continue;
            }
            let Some((action, fields)) = fill_in(&page.text, person) else {
                return Ok(End::On(page));
            };
            url = url.join(&action).unwrap();
            form = Some(fields);
        }
        panic!("no end after {PAGES} pages, at {}", url.path())
    }

    async fn load(&mut self, url: &Url, form: Option<Vec<(String, String)>>) -> reqwest::Result<Page> {
        let cookies = self.jar.entry(url.origin().ascii_serialization()).or_default();
        let mut request = match form {
            Some(fields) => self.http.post(url.clone()).form(&fields),
            None => self.http.get(url.clone()),
        };
        if !cookies.is_empty() {
            let pairs: Vec<_> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        let answer = request.send().await?;
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let text = set.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let next = answer.headers().get(header::LOCATION);
        Ok(Page {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            next: next.map(|next| url.join(next.to_str().unwrap()).unwrap()),
            text: answer.text().await?,
        })
    }
}

/// The page's form: where it goes, and what this person writes into it.
fn fill_in(page: &str, person: &Person) -> Option<(String, Vec<(String, String)>)> {
    let action = attribute(page.split("<form ").nth(1)?, "action")?;
    let mut fields: Vec<_> = page
        .split("<input ")
        .skip(1)
        .filter_map(|tag| {
            let name = attribute(tag, "name")?;
            let value = match name.as_str() {
                "username" => person.username.clone(),
                "pw" => "simulator".to_owned(),
                _ => attribute(tag, "value").unwrap_or_default(),
            };
            Some((name, value))
        })
        .collect();
    if page.contains("name=\"decision\"") {
        let decision = if person.allows { "allow" } else { "deny" };
        fields.push(("decision".to_owned(), decision.to_owned()));
    }
    Some((action, fields))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    tag.split(&format!("{name}=\""))
        .nth(1)?
        .split('"')
        .next()
        .map(str::to_owned)
}
