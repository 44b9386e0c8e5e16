package rules

import "github.com/seed31b3bfd0/slimgo/internal/auth"

// Own is how many keys of its own an identity has.
func Own(r *Rights) int { return len(r.own) }

// Asked is how many rules an identity is compared with.
func Asked(s *Set, who *auth.Identity) int { return len(s.whom.find(&meaning{who: who})) }

// Size is how many rules are left of those that were compiled.
func Size(s *Set) int { return len(s.rules) }
