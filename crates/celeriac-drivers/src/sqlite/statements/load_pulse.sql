SELECT sequence, messages, results, revoked FROM pulse
