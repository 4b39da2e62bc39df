package pixel

import (
	"encoding/binary"
	"image/color"
	"testing"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/header"
)

// bmpOf writes a BMP with a header of 40 bytes; between are masks or a palette.
func bmpOf(width, height int32, depth uint16, compression uint32, between, pixels []byte) []byte {
	le := binary.LittleEndian
	src := append([]byte("BM"), make([]byte, 8)...)
	src = le.AppendUint32(src, uint32(54+len(between)))
	src = le.AppendUint32(le.AppendUint32(le.AppendUint32(src, 40), uint32(width)), uint32(height))
	src = le.AppendUint32(le.AppendUint16(le.AppendUint16(src, 1), depth), compression)
	return append(append(append(src, make([]byte, 20)...), between...), pixels...)
}

func TestBMPVariants(t *testing.T) {
	palette := []byte{0, 0, 0, 0, 0, 0, 255, 0, 255, 255, 255, 0} // Black, red, white.
	masks565 := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0xf800), 0x7e0), 0x1f)
	os2 := append([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00\x0c\x00\x00\x00\x02\x00\x02\x00\x01\x00\x01\x00"), 0, 0, 0, 0, 0, 255, 0x80, 0, 0, 0, 0x40, 0, 0, 0)
	early := bmpOf(2, 1, 1, 0, []byte{0, 0, 0, 0, 0, 0, 255, 0}, []byte{0x40, 0, 0, 0})
	early[10] = 54 // The pixels are said to stand where the palette does.
	black, red, white := color.NRGBA{0, 0, 0, 255}, color.NRGBA{255, 0, 0, 255}, color.NRGBA{255, 255, 255, 255}
	for name, c := range map[string]struct {
		src  []byte
		want [2]color.NRGBA // the upper row
	}{
		"8 bits":               {bmpOf(2, 2, 8, 0, palette, []byte{0, 0, 0, 0, 1, 2, 0, 0}), [2]color.NRGBA{red, white}},
		"8 bits, upside down":  {bmpOf(2, -2, 8, 0, palette, []byte{1, 2, 0, 0, 0, 0, 0, 0}), [2]color.NRGBA{red, white}},
		"4 bits":               {bmpOf(2, 2, 4, 0, palette, []byte{0, 0, 0, 0, 0x12, 0, 0, 0}), [2]color.NRGBA{red, white}},
		"outside the palette":  {bmpOf(2, 1, 8, 0, palette, []byte{9, 1}), [2]color.NRGBA{black, red}},
		"run lengths of 8":     {bmpOf(2, 2, 8, 1, palette, []byte{2, 0, 0, 0, 1, 1, 1, 2, 0, 1}), [2]color.NRGBA{red, white}},
		"literal run lengths":  {bmpOf(3, 1, 8, 1, palette, []byte{0, 3, 1, 2, 1, 0, 0, 1}), [2]color.NRGBA{red, white}},
		"a run that skips":     {bmpOf(2, 2, 8, 1, palette, []byte{0, 2, 1, 1, 1, 2, 0, 1}), [2]color.NRGBA{black, white}},
		"run lengths of 4":     {bmpOf(2, 1, 4, 2, palette, []byte{2, 0x12, 0, 1}), [2]color.NRGBA{red, white}},
		"a run too long":       {bmpOf(2, 1, 8, 1, palette, []byte{200, 1, 0, 1}), [2]color.NRGBA{red, red}},
		"15 bits":              {bmpOf(2, 1, 16, 0, nil, []byte{0x00, 0x7c, 0xff, 0x7f}), [2]color.NRGBA{red, white}},
		"16 bits, bit fields":  {bmpOf(2, 1, 16, 3, masks565, []byte{0x00, 0xf8, 0xff, 0xff}), [2]color.NRGBA{red, white}},
		"24 bits":              {bmpOf(2, 1, 24, 0, nil, []byte{0, 0, 255, 255, 255, 255}), [2]color.NRGBA{red, white}},
		"24 bits, a gap":       {bmpOf(2, 1, 24, 0, make([]byte, 10), []byte{0, 0, 255, 255, 255, 255}), [2]color.NRGBA{red, white}},
		"32 bits, no alpha":    {bmpOf(2, 1, 32, 0, nil, []byte{0, 0, 255, 0, 255, 255, 255, 7}), [2]color.NRGBA{red, white}},
		"no place for colours": {early, [2]color.NRGBA{black, red}},
		"os/2":                 {os2, [2]color.NRGBA{black, red}},
	} {
		beginsWith(t, name, c.src, header.BMP, c.want)
	}
}

// beginsWith compares the first two pixels that a photo decodes to.
func beginsWith(t *testing.T, name string, src []byte, format string, want [2]color.NRGBA) {
	t.Helper()
	img, err := decode(t.Context(), src, format)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for x, want := range want {
		if got := color.NRGBAModel.Convert(img.At(x, 0)); got != want {
			t.Errorf("%s: pixel %d is %v, want %v", name, x, got, want)
		}
	}
}

// refused compares the reason for which a photo is not decoded.
func refused(t *testing.T, name string, src []byte, format string, want event.Reason) {
	t.Helper()
	_, err := decode(t.Context(), src, format)
	if r, ok := event.AsRefusal(err); !ok || r.Reason != want {
		t.Errorf("%s: %v, want %s", name, err, want)
	}
}

func TestBMPRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		src  []byte
		want event.Reason
	}{
		"half the rows":  {bmpOf(2, 2, 24, 0, nil, make([]byte, 8)), event.ReasonTruncated},
		"half a run":     {bmpOf(2, 2, 8, 1, make([]byte, 8), []byte{2, 0}), event.ReasonTruncated},
		"a jpeg inside":  {bmpOf(2, 2, 24, 4, nil, make([]byte, 16)), event.ReasonUnsupportedFeature},
		"no such depth":  {bmpOf(2, 2, 7, 0, nil, make([]byte, 16)), event.ReasonUnsupportedFeature},
		"fields of none": {bmpOf(2, 2, 24, 3, make([]byte, 12), make([]byte, 16)), event.ReasonCorrupt},
	} {
		refused(t, name, c.src, header.BMP, c.want)
	}
}
