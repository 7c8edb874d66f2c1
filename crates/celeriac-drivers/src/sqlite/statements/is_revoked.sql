-- Whether the call of message ?1 was revoked.
SELECT EXISTS (SELECT 1 FROM message JOIN revoked ON revoked.task_id = message.task_id WHERE message.number = ?1)
