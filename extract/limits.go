package extract

import (
	"cmp"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/header"
)

// Limits guard the stages behind extract. docs/limits.md says what they come to
// for each format.
type Limits struct {
	// Bytes bounds a photo's length; 0: 128 MiB.
	Bytes int64
	// Pixels bounds width × height; 0: 110 million.
	Pixels int64
	// DecodedBytes bounds what decoding a photo may hold; 0: 256 MiB.
	DecodedBytes int64
	// Aspect bounds the longer side over the shorter; 0: 100.
	Aspect int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Bytes: cmp.Or(l.Bytes, 128<<20), Pixels: cmp.Or(l.Pixels, 110e6),
		DecodedBytes: cmp.Or(l.DecodedBytes, 256<<20), Aspect: cmp.Or(l.Aspect, 100),
	}
}

// DefaultLimits keep a worker that renders within 512 MiB.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

// check refuses a photo by what its header claims.
func (l Limits) check(h header.Header) error {
	if h.Pixels() > l.Pixels {
		return event.Refuse(event.ReasonTooLargeForFormat, "%s of %d × %d pixels, more than %d", h.Format, h.Width, h.Height, l.Pixels)
	}
	if h.DecodedBytes() > l.DecodedBytes {
		return event.Refuse(event.ReasonTooLargeForFormat, "%s of %d × %d pixels, %d bits, progressive %t: decoding it holds %d MiB, more than %d",
			h.Format, h.Width, h.Height, h.Bits, h.Progressive, h.DecodedBytes()>>20, l.DecodedBytes>>20)
	}
	if long, short := max(h.Width, h.Height), min(h.Width, h.Height); long > l.Aspect*short {
		return event.Refuse(event.ReasonAspectRatio, "%d × %d pixels: one side is over %d times the other", h.Width, h.Height, l.Aspect)
	}
	return nil
}
