//! Keys and values are those that kombu and Celery read and write.
