//! Events by HTTP requests. A receiver that is busy (429, 5xx) or does not let us in (401, 403, 404 …) is asked again until
//! it takes the events. Events that it rejects (400, 413, 422) are sent alone to find which ones they are; those that it
//! still rejects after some tries are set aside in a file, so that nothing is lost and nothing waits behind them.

mod answer;
mod form;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Proxy};

use self::answer::{Answer, Problem};
use super::tls::{Certificates, ClientCertificate, explain, explain_tls, provider};
use super::{Context, Receiver, connect, stopped};
use crate::batch::Batch;
use crate::configuration::{Credentials, WebhookFormat, WebhookSettings};
use crate::error::{ErrorKind, SendError};

/// Most bytes that are read of an answer: some hundred for each event of a batch of Elasticsearch.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// An HTTP server.
pub struct WebhookReceiver {
    settings: WebhookSettings,
    agent: Option<Agent>,
    /// Events of a request at most: fewer after the receiver rejected one.
    events_max: usize,
    /// How often the first event was rejected alone.
    rejected_tries: u64,
    body: Vec<u8>,
}

impl WebhookReceiver {
    pub const fn new(settings: WebhookSettings) -> Self {
        Self { settings, agent: None, events_max: usize::MAX, rejected_tries: 0, body: Vec::new() }
    }

    /// The server as messages name it: without what may be a secret in its path.
    fn server(&self) -> &str {
        let rest = self.settings.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or(rest)
    }

    fn host_and_port(&self) -> String {
        let server = self.server();
        let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match has_port {
            true => server.to_owned(),
            false if self.settings.url.starts_with("https:") => format!("{server}:443"),
            false => format!("{server}:80"),
        }
    }

    fn build_agent(&self) -> Result<Agent, SendError> {
        let wrong = |_| SendError::new(ErrorKind::Connection, "the proxy cannot be used; write http://host:port");
        let proxy = self.settings.proxy.as_deref().map(Proxy::new).transpose().map_err(wrong)?;
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(self.settings.timeout_s)))
            .user_agent(concat!("vigie-forward/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy);
        if self.settings.url.starts_with("https:") {
            let certificates = Certificates::read(&self.settings.tls)?;
            // ureq would panic later at what is refused here.
            certificates.config()?;
            let roots: Vec<_> =
                certificates.authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            let client = certificates.client.as_ref().map(client_certificate).transpose()?;
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(provider())
                .root_certs(RootCerts::new_with_certs(&roots))
                .client_cert(client);
            builder = builder.tls_config(tls.build());
        }
        Ok(builder.build().new_agent())
    }

    /// The header `Authorization`, and the secret in it.
    fn authorization(&self) -> Result<Option<(String, String)>, SendError> {
        let read = |file: &crate::secret::SecretFile| {
            file.read().map_err(|message| SendError::new(ErrorKind::Credentials, message))
        };
        Ok(match &self.settings.credentials {
            Credentials::None => None,
            Credentials::Password { user, file } => {
                let secret = read(file)?;
                let pair = BASE64_STANDARD.encode(format!("{user}:{}", secret.reveal()));
                Some((format!("Basic {pair}"), secret.reveal().to_owned()))
            }
            Credentials::Token { scheme, file } => {
                let secret = read(file)?;
                Some((format!("{scheme} {}", secret.reveal()), secret.reveal().to_owned()))
            }
        })
    }

    /// Sends the body as it is for `count` events.
    fn post(&mut self, count: usize) -> Result<Answer, SendError> {
        let authorization = self.authorization()?;
        let agent = match self.agent.take() {
            Some(agent) => agent,
            None => self.build_agent()?,
        };
        let mut request =
            agent.post(&self.settings.url).header("Content-Type", form::content_type(self.settings.format));
        if let Some((header, _)) = &authorization {
            request = request.header("Authorization", header);
        }
        let mut response = request.send(&self.body[..]).map_err(|error| self.explain(&error))?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (retry_after, location) = (header("retry-after"), header("location"));
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let mut text = text.map_err(|error| self.explain(&error))?;
        if let Some((header, secret)) = &authorization {
            // Some servers repeat what they refuse.
            text = text.replace(secret.as_str(), "…").replace(header.as_str(), "…");
        }
        if let Some((_, query)) = self.settings.url.split_once('?').filter(|(_, query)| !query.is_empty()) {
            text = text.replace(query, "…");
        }
        self.agent = Some(agent);
        let head = answer::Head { status, retry_after, location };
        Ok(answer::read(self.settings.format, self.server(), count, &head, &text))
    }

    fn explain(&self, error: &ureq::Error) -> SendError {
        let server = self.server();
        let failed = |kind, what: &str| SendError::new(kind, format!("{server}: {what}"));
        match error {
            ureq::Error::Io(error) => explain(server, error),
            ureq::Error::Rustls(error) => explain_tls(server, error),
            ureq::Error::Timeout(_) => {
                failed(ErrorKind::Timeout, &format!("no answer within {} s (timeout_s)", self.settings.timeout_s))
            }
            ureq::Error::HostNotFound => match connect::resolve(&self.host_and_port()) {
                Err(error) => error,
                Ok(_) => failed(ErrorKind::UnknownHost, "the host is unknown"),
            },
            ureq::Error::ConnectionFailed => failed(ErrorKind::Connection, "no connection"),
            ureq::Error::BodyExceedsLimit(_) => failed(ErrorKind::Rejected, "the answer is too long"),
            other => failed(ErrorKind::Connection, &other.to_string()),
        }
    }

    /// Deals with a request of which the receiver rejects an event.
    fn rejected(
        &mut self,
        batch: &mut Batch,
        count: usize,
        message: String,
        context: Context<'_>,
    ) -> Result<(), SendError> {
        if count > 1 {
            // Which one is it?
            self.events_max = count / 2;
            return Ok(());
        }
        self.rejected_tries += 1;
        if self.rejected_tries < self.settings.rejected_tries_max {
            return Err(SendError::new(ErrorKind::Rejected, message));
        }
        if let Some(event) = batch.first() {
            context.set_aside(event.line, &message)?;
            batch.acknowledge(1);
        }
        self.rejected_tries = 0;
        Ok(())
    }
}

fn client_certificate(client: &ClientCertificate) -> Result<ClientCert, SendError> {
    let chain: Vec<_> = client.chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let wrong = |_| SendError::new(ErrorKind::Certificate, "the key in key_file cannot be used");
    let key = PrivateKey::from_pem(&client.key_pem).map_err(wrong)?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

impl Receiver for WebhookReceiver {
    fn send(&mut self, batch: &mut Batch, context: Context<'_>) -> Result<(), SendError> {
        while batch.waiting() > 0 {
            if context.stop.is_asked() {
                return Err(stopped());
            }
            let count = match self.settings.format {
                WebhookFormat::TheHive => 1,
                _ => batch.waiting().min(self.events_max),
            };
            self.body.clear();
            form::write(&self.settings, batch.events().take(count), &mut self.body);
            let answer = self.post(count)?;
            if answer.accepted > 0 {
                batch.acknowledge(answer.accepted);
                self.rejected_tries = 0;
                self.events_max = self.events_max.saturating_mul(2);
            }
            match answer.problem {
                None => {}
                Some(Problem::Failed(error)) => {
                    self.agent = None;
                    return Err(error);
                }
                Some(Problem::Rejected(_)) if answer.accepted > 0 => self.events_max = 1,
                Some(Problem::Rejected(message)) => self.rejected(batch, count, message, context)?,
            }
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<String, SendError> {
        self.authorization()?;
        self.build_agent()?;
        let server = match &self.settings.proxy {
            Some(proxy) => proxy.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            None => self.host_and_port(),
        };
        connect::connect(&server, Duration::from_secs(self.settings.timeout_s))?;
        Ok(format!("{server} answers; credentials and certificates are tried with the first event"))
    }
}
