DELETE FROM chord_part WHERE chord = ?1
