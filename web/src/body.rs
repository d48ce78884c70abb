//! Reading requests: JSON bodies, query strings and ids, with every refusal as an [`ApiError`].

use std::fmt;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio_stream::StreamExt as _;

use crate::error::{ApiError, Code};
use crate::limits::{self, ARRIVAL_TIME, Limit};

/// A JSON body of type `T`.
///
/// `application/json`, `application/x-www-form-urlencoded` (what a bare `curl -d` sends) and a body without a content
/// type are all read as JSON; anything else is 415. Unknown members and whatever follows the value are ignored, as the
/// first version of the service did. Numbers are best taken as [`Int`] and checked with [`Limit::check`].
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        accepts_as_json(request.headers())?;
        let bytes = read(request.into_body()).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::new(
                Code::EmptyBody,
                "the body is empty; send at least {}",
            ));
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            // serde would also fill a struct from an array, which no client means.
            return Err(match serde::de::IgnoredAny::deserialize(&mut json) {
                Ok(_) => ApiError::new(Code::WrongType, "the body must be a JSON object"),
                Err(e) => ApiError::new(Code::Malformed, format!("the body is not JSON: {e}")),
            });
        }
        serde_path_to_error::deserialize(&mut json)
            .map(Body)
            .map_err(|e| {
                let path = e.path().to_string();
                let cause = e.into_inner();
                match cause.classify() {
                    serde_json::error::Category::Data => {
                        let refusal = ApiError::new(Code::WrongType, cause.to_string());
                        if path == "." {
                            refusal
                        } else {
                            refusal.field(path)
                        }
                    }
                    _ => ApiError::new(Code::Malformed, format!("the body is not JSON: {cause}")),
                }
            })
    }
}

fn accepts_as_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(declared) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let media = declared
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let known = ["", "application/json", "application/x-www-form-urlencoded"];
    if known.iter().any(|k| media.eq_ignore_ascii_case(k)) {
        return Ok(());
    }
    let detail = format!("the body is declared as {media:?}, but must be application/json");
    Err(ApiError::new(Code::UnsupportedMediaType, detail).field("Content-Type"))
}

/// The whole body, if it is within its limit and arrives in time.
pub(crate) async fn read(body: HttpBody) -> Result<Vec<u8>, ApiError> {
    let collect = async {
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| {
                ApiError::new(Code::Malformed, "the body ended before its declared length")
            })?;
            if (bytes.len() + chunk.len()) as u64 > limits::BODY.max {
                let detail = format!("the body is larger than {} bytes", limits::BODY.max);
                return Err(ApiError::new(Code::BodyTooLarge, detail).limit(limits::BODY.max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(ARRIVAL_TIME, collect)
        .await
        .unwrap_or_else(|_| {
            let detail = format!(
                "the body did not arrive within {} s",
                ARRIVAL_TIME.as_secs()
            );
            Err(ApiError::new(Code::RequestTimeout, detail).limit(ARRIVAL_TIME.as_secs()))
        })
}

/// A whole number of a JSON body, before its range is checked.
///
/// Wide enough that a number too large for 64 bits is refused as out of range (422) and not as malformed (400); a
/// fraction or a string is a wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int(pub i128);

/// For the descriptions of defaults; no answer holds one.
impl Serialize for Int {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i128(self.0)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Int;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Int, E> {
                Ok(Int(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Int, E> {
                Ok(Int(value.into()))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Int, E> {
                // JSON readers hand over integers beyond 64 bits as floats; anything smaller was written as a fraction.
                if value.abs() >= i64::MAX as f64 {
                    return Ok(Int(if value < 0.0 { i128::MIN } else { i128::MAX }));
                }
                Err(E::invalid_type(serde::de::Unexpected::Float(value), &self))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

/// The routine count, under its old name `goroutines` or as `routines`.
///
/// # Errors
/// 422 if both are given and differ, or the count is out of range.
pub fn routine_count(
    limit: &Limit,
    goroutines: Option<Int>,
    routines: Option<Int>,
) -> Result<u64, ApiError> {
    let given = |count: Option<Int>| count.filter(|c| c.0 != 0);
    match (given(goroutines), given(routines)) {
        (Some(a), Some(b)) if a != b => {
            let detail = "goroutines and routines are two names of one number, but differ";
            Err(ApiError::new(Code::Contradiction, detail).field("routines"))
        }
        (a, b) => limit.check(a.or(b)),
    }
}

/// One of a set of named values; `None`, and the empty text of old clients, mean `default`.
///
/// # Errors
/// 422 `unknown_value` with the names that are known.
pub fn choice<T: Copy>(
    field: &'static str,
    value: Option<&str>,
    known: &[(&'static str, T)],
    default: T,
) -> Result<T, ApiError> {
    let Some(value) = value.filter(|v| !v.is_empty()) else {
        return Ok(default);
    };
    known
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, choice)| *choice)
        .ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            ApiError::unknown_value(field, value, &names)
        })
}

/// The query string as `T`. Take numbers as `Option<String>` and check them with [`Limit::query`].
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Query(query.0))
            .map_err(|e| {
                ApiError::new(
                    Code::Malformed,
                    format!("the query could not be read: {}", e.body_text()),
                )
            })
    }
}

/// The last segment of the path as an id that this service may have made: 1 to 64 of `a-z`, `0-9` and `-`.
///
/// Anything else, a path that climbs or a zero byte say, names nothing and is 404 before any look-up.
#[derive(Clone, Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let nothing = || ApiError::new(Code::NotFound, "there is nothing with this id");
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| nothing())?;
        let known_form = (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if known_form {
            Ok(Id(id))
        } else {
            Err(nothing())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Request {
        data: Option<String>,
        goroutines: Option<Int>,
    }

    async fn read(content_type: Option<&str>, body: &str) -> Result<Request, ApiError> {
        let mut request = axum::http::Request::post("/mine");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(HttpBody::from(body.to_owned()))
            .expect("a request");
        Body::<Request>::from_request(request, &())
            .await
            .map(|Body(value)| value)
    }

    #[tokio::test]
    async fn what_curl_sends_by_itself_is_read_as_json() {
        for content_type in [
            None,
            Some("application/json; charset=utf-8"),
            Some("application/x-www-form-urlencoded"),
        ] {
            let request = read(
                content_type,
                r#"{"data":"x","goroutines":4,"unknown":1} trailing"#,
            )
            .await
            .expect("accepted");
            assert_eq!(
                (request.data.as_deref(), request.goroutines),
                (Some("x"), Some(Int(4)))
            );
        }
        assert_eq!(
            read(Some("text/xml"), "{}")
                .await
                .expect_err("refused")
                .code(),
            Code::UnsupportedMediaType
        );
    }

    #[tokio::test]
    async fn each_kind_of_broken_body_has_its_code() {
        #[track_caller]
        fn check(result: Result<Request, ApiError>, code: Code, field: Option<&str>) {
            let problem = result.expect_err("refused").problem();
            assert_eq!(
                (problem.code, problem.field.as_deref()),
                (code, field),
                "{}",
                problem.detail
            );
        }
        check(read(None, "").await, Code::EmptyBody, None);
        check(read(None, "  \n").await, Code::EmptyBody, None);
        check(read(None, "data=x").await, Code::Malformed, None);
        check(read(None, "{\"data\":").await, Code::Malformed, None);
        check(read(None, "[]x").await, Code::WrongType, None);
        check(
            read(None, r#"{"data":7}"#).await,
            Code::WrongType,
            Some("data"),
        );
        check(
            read(None, r#"{"goroutines":"4"}"#).await,
            Code::WrongType,
            Some("goroutines"),
        );
        check(
            read(None, r#"{"goroutines":1.5}"#).await,
            Code::WrongType,
            Some("goroutines"),
        );
        let long = format!("{{\"data\":\"{}\"}}", "x".repeat(1 << 20));
        check(read(None, &long).await, Code::BodyTooLarge, None);
    }

    #[tokio::test]
    async fn an_integer_beyond_64_bits_is_out_of_range_and_not_malformed() {
        let request = read(None, r#"{"goroutines":99999999999999999999999}"#)
            .await
            .expect("read");
        assert_eq!(
            limits::MINE_ROUTINES
                .check(request.goroutines)
                .expect_err("refused")
                .code(),
            Code::OutOfRange
        );
    }

    #[test]
    fn both_names_of_the_routine_count_may_be_given_if_they_agree() {
        let count =
            |a: i128, b: i128| routine_count(&limits::MINE_ROUTINES, Some(Int(a)), Some(Int(b)));
        assert_eq!(count(4, 4).map_err(|e| e.code()), Ok(4));
        assert_eq!(count(0, 4).map_err(|e| e.code()), Ok(4));
        assert_eq!(count(4, 5).map_err(|e| e.code()), Err(Code::Contradiction));
    }
}
