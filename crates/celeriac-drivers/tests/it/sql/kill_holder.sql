-- As if the machine had been booted since.
UPDATE holder SET boot_id = 'an earlier boot' WHERE name = ?1
