UPDATE pulse SET sequence = sequence + 1, messages = messages + 1
