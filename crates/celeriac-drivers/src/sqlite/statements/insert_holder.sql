INSERT INTO holder (number, name, queues, pid, start_ticks, pid_namespace, boot_id,
                    lease_ms, started_ms, heartbeat_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
