//! A stand-in for a user with a browser: follows redirects, keeps cookies, fills in the simulator's forms.

use std::collections::HashMap;

use reqwest::{Client, Response, Url, header, redirect::Policy};

use crate::problem::Problem;

/// How many pages the user visits before giving up.
const PAGES: usize = 12;

pub(crate) struct Person {
    browser: Client,
    /// Cookies by origin.
    jar: HashMap<String, HashMap<String, String>>,
    username: &'static str,
    password: &'static str,
}

impl Person {
    pub(crate) fn new(username: &'static str, password: &'static str) -> Result<Self, Problem> {
        let browser = Client::builder().redirect(Policy::none()).no_proxy().build()?;
        Ok(Self {
            browser,
            jar: HashMap::new(),
            username,
            password,
        })
    }

    /// Opens `url` and continues until the browser reaches a page of `home`. Returns that page's status and text.
    pub(crate) async fn connect(&mut self, url: &str, home: &str) -> Result<(u16, String), Problem> {
        let mut url = Url::parse(url)?;
        let mut form: Option<Vec<(String, String)>> = None;
        for _ in 0..PAGES {
            let answer = self.open(&url, form.take()).await?;
            if let Some(next) = answer.headers().get(header::LOCATION) {
                url = url.join(next.to_str()?)?;
                continue;
            }
            let status = answer.status().as_u16();
            let page = answer.text().await?;
            if url.as_str().starts_with(home) || status >= 400 {
                return Ok((status, page));
            }
            let (action, fields) = self.fill_in(&page)?;
            url = url.join(&action)?;
            form = Some(fields);
        }
        Err("the connect flow did not come to an end".into())
    }

    async fn open(&mut self, url: &Url, form: Option<Vec<(String, String)>>) -> Result<Response, Problem> {
        let origin = url.origin().ascii_serialization();
        let cookies = self.jar.entry(origin.clone()).or_default();
        let cookie = cookies
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join("; ");
        let mut request = match form {
            Some(fields) => self.browser.post(url.clone()).form(&fields),
            None => self.browser.get(url.clone()),
        };
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        let answer = request.send().await?;
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let pair = set.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(answer)
    }

    /// The form on a page: its target, and what this user enters.
    fn fill_in(&self, page: &str) -> Result<(String, Vec<(String, String)>), Problem> {
        let action = attribute(page, "<form ", "action").ok_or("the page has no form")?;
        let mut fields = Vec::new();
        for tag in page.split("<input ").skip(1) {
            let tag = tag.split('>').next().unwrap_or_default();
            let Some(name) = value_of(tag, "name") else {
                continue;
            };
            let value = match name.as_str() {
                "username" => self.username.to_owned(),
                "pw" => self.password.to_owned(),
                _ => value_of(tag, "value").unwrap_or_default(),
            };
            fields.push((name, value));
        }
        if page.contains("value=\"allow\"") {
            fields.push(("decision".to_owned(), "allow".to_owned()));
        }
        Ok((action, fields))
    }
}

fn attribute(page: &str, tag: &str, name: &str) -> Option<String> {
    value_of(page.split(tag).nth(1)?.split('>').next()?, name)
}

fn value_of(tag: &str, name: &str) -> Option<String> {
    tag.split(&format!("{name}=\""))
        .nth(1)?
        .split('"')
        .next()
        .map(str::to_owned)
}
