//! Results as they are stored.

use celeriac_core::{
    ContentType, Payload, Progress, ResultState, StoredResult, TaskError, TaskId, Trail,
};
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, Row};

use super::failure::{Failure, RESTORE};
use super::statements;
use super::transaction::{News, Transaction};

/// What a result may replace. A final state never gives way to one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    /// Any other.
    Any,
    /// Only one that is not final.
    OnlyPassing,
}

impl Transaction<'_> {
    /// Stores `result`, if it may replace what is there.
    pub(super) fn store_result(
        &mut self,
        result: &StoredResult,
        replace: Replace,
    ) -> Result<(), Failure> {
        let mut statement = self.prepare(statements::STORE_RESULT)?;
        self.store_result_by(&mut statement, result, replace)
    }

    /// The same, by a statement that is at hand.
    pub(super) fn store_result_by(
        &mut self,
        statement: &mut CachedStatement<'_>,
        result: &StoredResult,
        replace: Replace,
    ) -> Result<(), Failure> {
        let number = self.next_number();
        let progress = match &result.state {
            ResultState::Progress(progress) => Some(json(progress)?),
            _ => None,
        };
        let error = encode_error(result.error.as_ref())?;
        let value = result.value.as_ref();
        let stored = statement.execute((
            number,
            result.id.to_string(),
            &result.task,
            result.state.as_str(),
            result.state.is_final(),
            result.attempt,
            result.stored_at.as_microsecond(),
            result.expires_at.as_microsecond(),
            progress,
            error,
            value.map(|value| value.content_type.as_str()),
            replace == Replace::Any,
            value.map(|value| &value.bytes[..]),
        ))?;
        if stored > 0 {
            self.announce(News::Results);
        }
        Ok(())
    }

    /// Forgets results.
    pub(super) fn forget(&mut self, ids: &[String]) -> Result<(), Failure> {
        for id in ids {
            self.execute(statements::FORGET_RESULT, [id])?;
        }
        Ok(())
    }
}

/// The text that is stored of an error.
pub(super) fn encode_error(error: Option<&TaskError>) -> Result<Option<String>, Failure> {
    error.map(json).transpose()
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Other(error.to_string()))
}

/// What is held of those of `ids` that may have a result.
///
/// Our ids grow with time, so a call that was just sent comes after all that have ended, which one
/// look tells of many.
pub(super) fn fetch_some(
    connection: &Connection,
    ids: &[TaskId],
) -> Result<Vec<StoredResult>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(statements::LAST_TASK_ID)?;
    let last: Option<String> = statement.query_row([], |row| row.get(0))?;
    let Some(last) = last else {
        return Ok(Vec::new());
    };
    let mut old = ids.to_vec();
    old.retain(|id| id.to_string() <= last);
    Ok(fetch(connection, &old)?.into_iter().flatten().collect())
}

/// What is held of each of `ids`, unless it has expired.
pub(super) fn fetch(
    connection: &Connection,
    ids: &[TaskId],
) -> Result<Vec<Option<StoredResult>>, Failure> {
    let now_us = Timestamp::now().as_microsecond();
    let mut statement = connection.prepare_cached(statements::FETCH_RESULT)?;
    ids.iter()
        .map(|id| {
            let mut rows = statement.query((id.to_string(), now_us))?;
            match rows.next()? {
                Some(row) => Ok(Some(decode(row, id.clone())?)),
                None => Ok(None),
            }
        })
        .collect()
}

/// What was stored after `cursor` of the calls that `wanted` names, and the new cursor.
///
/// Values of other calls are passed over unread.
pub(super) fn news(
    connection: &Connection,
    mut cursor: i64,
    limit: u32,
    wanted: impl Fn(&TaskId) -> bool,
) -> Result<(Vec<StoredResult>, i64), Failure> {
    let mut statement = connection.prepare_cached(statements::NEWS_OF_RESULTS)?;
    let mut found = Vec::new();
    loop {
        let mut rows = statement.query((cursor, limit))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            cursor = row.get(0)?;
            let id = TaskId::from(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
            if wanted(&id) {
                found.push(decode(row, id)?);
            }
        }
        if seen < limit || !found.is_empty() {
            return Ok((found, cursor));
        }
    }
}

fn decode(row: &Row<'_>, id: TaskId) -> Result<StoredResult, Failure> {
    let state: String = row.get(3)?;
    let progress: Option<String> = row.get(7)?;
    Ok(StoredResult {
        id,
        task: row.get(2)?,
        state: decode_state(&state, progress.as_deref())?,
        attempt: row.get(4)?,
        stored_at: time(row.get(5)?),
        expires_at: time(row.get(6)?),
        error: decode_error(row, 8)?,
        trail: Trail::default(),
        value: decode_value(row, 9)?,
    })
}

/// The error in `column`, if there is one.
pub(super) fn decode_error(row: &Row<'_>, column: usize) -> Result<Option<TaskError>, Failure> {
    let error: Option<String> = row.get(column)?;
    error.as_deref().map(from_json).transpose()
}

/// The content type in `column` and the value in the next, if there is one.
pub(super) fn decode_value(row: &Row<'_>, column: usize) -> Result<Option<Payload>, Failure> {
    let Some(name) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    Ok(Some(Payload {
        content_type: ContentType::from_mime(&name).ok_or_else(|| damaged(&name))?,
        bytes: row.get::<_, Vec<u8>>(column + 1)?.into(),
    }))
}

pub(super) fn decode_state(state: &str, progress: Option<&str>) -> Result<ResultState, Failure> {
    Ok(match state {
        "STARTED" => ResultState::Started,
        "PROGRESS" => ResultState::Progress(match progress {
            Some(text) => from_json(text)?,
            None => Progress::default(),
        }),
        "RETRY" => ResultState::Retry,
        "SUCCESS" => ResultState::Success,
        "FAILURE" => ResultState::Failure,
        "REVOKED" => ResultState::Revoked,
        custom => ResultState::Custom(custom.to_owned()),
    })
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|_| damaged("JSON"))
}

fn time(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn damaged(what: &str) -> Failure {
    Failure::Unusable(
        format!("it is corrupt: a result holds `{}`", what.escape_debug()),
        RESTORE,
    )
}
