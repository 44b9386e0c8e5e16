package rules

// numbers is a set of rules by their numbers, immutable once it is complete: few in order, or a bit for each of all. Whether two
// sets meet is found in some hundred steps, however many rules there are.
type numbers struct {
	few  []uint32 // ascending; fewMax at most
	many []uint64 // nil: few has all
}

const fewMax = 64

// add adds n, which is above all that are in s. all is how many rules there are.
func (s *numbers) add(n uint32, all int) {
	switch {
	case s.many != nil:
	case len(s.few) < fewMax:
		if last := len(s.few) - 1; last < 0 || s.few[last] != n {
			s.few = append(s.few, n)
		}
		return
	default:
		if s.few[fewMax-1] == n {
			return
		}
		s.many = make([]uint64, (all+63)/64)
		for _, m := range s.few {
			s.many[m/64] |= 1 << (m % 64)
		}
		s.few = nil
	}
	s.many[n/64] |= 1 << (n % 64)
}

func (s *numbers) has(n uint32) bool { return s.many[n/64]>>(n%64)&1 != 0 }

// meets reports whether any number is in both.
func (s *numbers) meets(o *numbers) bool {
	switch {
	case s.many != nil && o.many != nil:
		for i := range s.many {
			if s.many[i]&o.many[i] != 0 {
				return true
			}
		}
	case s.many != nil:
		return o.meets(s)
	case o.many != nil:
		for _, n := range s.few {
			if o.has(n) {
				return true
			}
		}
	default:
		for i, j := 0, 0; i < len(s.few) && j < len(o.few); {
			switch a, b := s.few[i], o.few[j]; {
			case a == b:
				return true
			case a < b:
				i++
			default:
				j++
			}
		}
	}
	return false
}
