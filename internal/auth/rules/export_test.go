package rules

// Own is how many keys of its own an identity has.
func Own(r *Rights) int { return len(r.own) }
