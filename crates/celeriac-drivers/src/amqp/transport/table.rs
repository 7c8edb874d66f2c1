//! Field tables and the JSON they mean.
//!
//! The types we write are those of Celery's own client, so that a header reads the same in both:
//! text as `S`, whole numbers as `I` or `L` by their size, other numbers as `d`.

use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

/// The table of `map`, or why it has none.
pub(crate) fn to_table(map: &Map<String, Value>) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (key, value) in map {
        let key = ShortString::try_new(key.as_str())
            .map_err(|_| "a header's name has more than 255 bytes".to_owned())?;
        table.insert(key, to_value(value)?);
    }
    Ok(table)
}

/// The field value of a JSON value.
pub(crate) fn to_value(value: &Value) -> Result<AMQPValue, String> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => to_number(number),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(to_value).collect();
            AMQPValue::FieldArray(FieldArray::from(items?))
        }
        Value::Object(map) => AMQPValue::FieldTable(to_table(map)?),
    })
}

fn to_number(number: &Number) -> AMQPValue {
    match (number.as_i64(), number.is_f64(), number.as_f64()) {
        (Some(whole), ..) => {
            i32::try_from(whole).map_or(AMQPValue::LongLongInt(whole), AMQPValue::LongInt)
        }
        (None, true, Some(real)) => AMQPValue::Double(real),
        // A whole number that no field can hold is kept exact, as text.
        _ => AMQPValue::LongString(number.to_string().into()),
    }
}

/// The JSON of a table, and what is wrong with it if some text is no UTF-8.
pub(crate) fn from_table(table: &FieldTable) -> (Map<String, Value>, Option<String>) {
    let mut wrong = None;
    let map = map_of(table, &mut wrong);
    (map, wrong)
}

fn map_of(table: &FieldTable, wrong: &mut Option<String>) -> Map<String, Value> {
    let entries = table.into_iter();
    entries
        .map(|(key, value)| (key.as_str().to_owned(), from_value(value, wrong)))
        .collect()
}

fn from_value(value: &AMQPValue, wrong: &mut Option<String>) -> Value {
    match value {
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortUInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::Float(number) => f64::from(*number).into(),
        AMQPValue::Double(number) => (*number).into(),
        AMQPValue::DecimalValue(number) => {
            (f64::from(number.value) / 10_f64.powi(i32::from(number.scale))).into()
        }
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => text_of(text.as_bytes(), wrong),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::FieldArray(items) => {
            let items = items.as_slice().iter();
            items.map(|item| from_value(item, wrong)).collect()
        }
        AMQPValue::FieldTable(table) => Value::Object(map_of(table, wrong)),
        AMQPValue::Void => Value::Null,
    }
}

fn text_of(bytes: &[u8], wrong: &mut Option<String>) -> Value {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        wrong.get_or_insert_with(|| "headers: a text is not UTF-8".to_owned());
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e12..1e12).prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,10}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(map in prop::collection::btree_map(".{0,10}", json_value(), 0..5)) {
            let map: Map<String, Value> = map.into_iter().collect();
            let (again, wrong) = from_table(&to_table(&map).unwrap());
            prop_assert_eq!(again, map);
            prop_assert_eq!(wrong, None);
        }
    }

    #[test]
    fn numbers_have_the_types_that_celery_writes() {
        for (value, is) in [
            (json!(1), AMQPValue::LongInt(1)),
            (json!(1_u64 << 40), AMQPValue::LongLongInt(1 << 40)),
            (json!(1.0), AMQPValue::Double(1.0)),
            (
                json!(u64::MAX),
                AMQPValue::LongString("18446744073709551615".into()),
            ),
        ] {
            assert_eq!(to_value(&value).unwrap(), is);
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_shown_and_called_wrong() {
        let mut table = FieldTable::default();
        table.insert("task".into(), AMQPValue::LongString(vec![0xff].into()));
        let (map, wrong) = from_table(&table);
        assert_eq!(map["task"], "\u{fffd}");
        assert!(wrong.unwrap().contains("UTF-8"));
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let map = Map::from_iter([("x".repeat(256), Value::Null)]);
        assert!(to_table(&map).is_err());
    }
}
