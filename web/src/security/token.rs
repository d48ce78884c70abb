//! The token that a service off loopback asks for.
//!
//! It is taken from `Authorization` alone, as `Bearer` or as the password of `Basic` with any user, so that a browser,
//! `EventSource`, curl, `go tool pprof` and Prometheus can all send it; never from a URL, which ends in logs and
//! histories. It is compared in constant time and appears in no log, no debug output and no answer.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;

use crate::error::{ApiError, Code};
use crate::state::AppState;

/// Fewest characters of a token.
pub const LENGTH_MIN: usize = 16;
/// File in the data directory that keeps a generated token.
pub const FILE: &str = "token";

/// A secret that requests must carry.
#[derive(Clone)]
pub struct Token(String);

/// Why a text cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Fewer than [`LENGTH_MIN`] characters.
    #[error("a token needs at least {LENGTH_MIN} characters")]
    TooShort,
    /// A character that cannot stand in a header.
    #[error("a token may hold visible ASCII characters only")]
    NotVisible,
}

impl Token {
    /// A token of at least [`LENGTH_MIN`] visible ASCII characters; white space around it is dropped.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it, without repeating it.
    pub fn new(text: String) -> Result<Self, TokenError> {
        let text = text.trim();
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::NotVisible);
        }
        if text.len() < LENGTH_MIN {
            return Err(TokenError::TooShort);
        }
        Ok(Token(text.to_owned()))
    }

    /// The token kept in `dir`, and whether it was made just now (128 random bits, readable by its owner alone).
    ///
    /// # Errors
    /// The file cannot be read or written, holds no token, or the system has no randomness.
    pub fn kept_in(dir: &Path) -> io::Result<(Self, bool)> {
        let path = dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Token::new(text)
                .map(|t| (t, false))
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut bits = [0; 16];
                getrandom::fill(&mut bits).map_err(io::Error::other)?;
                let token = Token(BASE64_URL_SAFE_NO_PAD.encode(bits));
                let mut file = owner_only().open(&path)?;
                writeln!(file, "{}", token.0)?;
                file.sync_all()?;
                Ok((token, true))
            }
            Err(e) => Err(e),
        }
    }

    /// The secret itself, for the one line that shows it to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn is(&self, given: &[u8]) -> bool {
        // Only the length can be learnt from the time this takes.
        self.0.as_bytes().ct_eq(given).into()
    }
}

fn owner_only() -> fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The secret that a request carries, if it carries one.
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = BASE64_STANDARD.decode(rest.trim()).ok()?;
        let colon = pair.iter().position(|b| *b == b':')?;
        return Some(pair[colon + 1..].to_vec());
    }
    None
}

/// Refuses requests without the token, where there is one. The two probes stay open.
pub async fn check(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let open = matches!(request.uri().path(), "/healthz" | "/readyz");
    let passes = match &state.token {
        None => true,
        Some(token) => open || given(request.headers()).is_some_and(|given| token.is(&given)),
    };
    if !passes {
        let detail =
            "a token is needed: as `Authorization: Bearer`, or as the password of any user";
        return Err(ApiError::new(Code::Unauthorized, detail).field("Authorization"));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn carrying(value: &str) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_str(value).expect("a header"),
        );
        given(&headers)
    }

    #[test]
    fn bearer_and_basic_password_carry_the_token() {
        let token = Token::new("0123456789abcdef\n".to_owned()).expect("long enough");
        assert!(carrying("Bearer 0123456789abcdef").is_some_and(|t| token.is(&t)));
        let basic = format!(
            "Basic {}",
            BASE64_STANDARD.encode("anyone:0123456789abcdef")
        );
        assert!(carrying(&basic).is_some_and(|t| token.is(&t)));
        assert!(!carrying("Bearer 0123456789abcdeF").is_some_and(|t| token.is(&t)));
        assert!(carrying("Basic ????").is_none());
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_token_is_long_and_visible() {
        assert_eq!(
            Token::new("short".to_owned()).expect_err("refused"),
            TokenError::TooShort
        );
        assert_eq!(
            Token::new("0123456789 abcdef".to_owned()).expect_err("refused"),
            TokenError::NotVisible
        );
    }

    #[test]
    fn a_generated_token_is_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let (first, fresh) = Token::kept_in(dir.path()).expect("made");
        let (second, again) = Token::kept_in(dir.path()).expect("read");
        assert!(fresh && !again);
        assert_eq!(first.reveal(), second.reveal());
        let mode = fs::metadata(dir.path().join(FILE))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
