SELECT number, name, queues, pid, start_ticks, pid_namespace, boot_id, lease_ms, started_ms, heartbeat_ms,
       (SELECT count(*) FROM held WHERE held.holder = holder.number)
FROM holder ORDER BY number
