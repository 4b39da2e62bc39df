package pixel

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"image/color"
	"slices"
	"testing"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/header"
)

// tiffOf writes a TIFF of one directory: shorts and longs by their tags, and the
// blocks of pixels.
func tiffOf(order binary.AppendByteOrder, fields map[uint16][]uint32, blocks ...[]byte) []byte {
	src := []byte("II\x2a\x00\x00\x00\x00\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		src = []byte("MM\x00\x2a\x00\x00\x00\x00")
	}
	offsets, counts := uint16(273), uint16(279)
	if _, tiled := fields[322]; tiled {
		offsets, counts = 324, 325
	}
	for _, block := range blocks {
		fields[offsets], fields[counts] = append(fields[offsets], uint32(len(src))), append(fields[counts], uint32(len(block)))
		src = append(src, block...)
	}
	var tags []uint16
	for tag := range fields {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	directory := order.AppendUint16(nil, uint16(len(tags)))
	var values []byte
	behind := len(src) + 2 + 12*len(tags) + 4
	for _, tag := range tags {
		directory = order.AppendUint32(order.AppendUint16(order.AppendUint16(directory, tag), 4), uint32(len(fields[tag])))
		if len(fields[tag]) == 1 {
			directory = order.AppendUint32(directory, fields[tag][0])
			continue
		}
		directory = order.AppendUint32(directory, uint32(behind+len(values)))
		for _, v := range fields[tag] {
			values = order.AppendUint32(values, v)
		}
	}
	at := order.AppendUint32(nil, uint32(len(src)))
	src = append(append(src, directory...), 0, 0, 0, 0)
	copy(src[4:], at)
	return append(src, values...)
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTIFFVariants(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	type fields = map[uint16][]uint32
	red, white, black := color.NRGBA{255, 0, 0, 255}, color.NRGBA{255, 255, 255, 255}, color.NRGBA{0, 0, 0, 255}
	grey := func(v uint8) color.NRGBA { return color.NRGBA{v, v, v, 255} }
	for name, c := range map[string]struct {
		src  []byte
		want [2]color.NRGBA // the first two pixels
	}{
		"rgb":              {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8}, 262: {2}, 277: {3}}, []byte{255, 0, 0, 255, 255, 255}), [2]color.NRGBA{red, white}},
		"rgb, 16 bits":     {tiffOf(be, fields{256: {2}, 257: {1}, 258: {16, 16, 16}, 262: {2}, 277: {3}}, []byte{255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255}), [2]color.NRGBA{red, white}},
		"in planes":        {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8}, 262: {2}, 277: {3}, 284: {2}}, []byte{255, 0}, []byte{0, 0}, []byte{0, 0}), [2]color.NRGBA{red, black}},
		"predictor":        {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8}, 262: {2}, 277: {3}, 317: {2}}, []byte{255, 0, 0, 0, 255, 255}), [2]color.NRGBA{red, white}},
		"predictor of 16":  {tiffOf(be, fields{256: {2}, 257: {1}, 258: {16}, 262: {1}, 317: {2}}, []byte{10, 0, 20, 0}), [2]color.NRGBA{grey(10), grey(30)}},
		"deflate":          {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 259: {8}, 262: {1}}, deflated(t, []byte{0, 255})), [2]color.NRGBA{black, white}},
		"packbits":         {tiffOf(le, fields{256: {2}, 257: {2}, 258: {8}, 259: {32773}, 262: {1}}, []byte{1, 7, 9, 128, 255, 200}), [2]color.NRGBA{grey(7), grey(9)}},
		"tiles":            {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 262: {1}, 322: {1}, 323: {2}}, []byte{5, 0}, []byte{6, 0}), [2]color.NRGBA{grey(5), grey(6)}},
		"cmyk":             {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8, 8}, 262: {5}, 277: {4}}, []byte{0, 255, 255, 0, 0, 0, 0, 0}), [2]color.NRGBA{red, white}},
		"1 bit, white 0":   {tiffOf(le, fields{256: {2}, 257: {1}, 258: {1}, 262: {0}}, []byte{0x40}), [2]color.NRGBA{white, black}},
		"1 bit, reversed":  {tiffOf(le, fields{256: {2}, 257: {1}, 258: {1}, 262: {0}, 266: {2}}, []byte{0x02}), [2]color.NRGBA{white, black}},
		"16, reversed":     {tiffOf(be, fields{256: {2}, 257: {1}, 258: {16}, 262: {1}, 266: {2}}, []byte{0x80, 0, 0xc0, 0}), [2]color.NRGBA{grey(1), grey(3)}},
		"bits of too many": {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 9}, 262: {1}, 277: {1}}, []byte{3, 4}), [2]color.NRGBA{grey(3), grey(4)}},
		"2 bits":           {tiffOf(le, fields{256: {2}, 257: {1}, 258: {2}, 262: {1}}, []byte{0x70}), [2]color.NRGBA{grey(85), white}},
		"12 bits":          {tiffOf(le, fields{256: {2}, 257: {1}, 258: {12}, 262: {1}}, []byte{0xff, 0xf0, 0x00}), [2]color.NRGBA{white, black}},
		"palette":          {tiffOf(le, fields{256: {2}, 257: {1}, 258: {1}, 262: {3}, 320: {0, 0xffff, 0, 0, 0, 0}}, []byte{0x40}), [2]color.NRGBA{black, red}},
		"alpha":            {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8, 8}, 262: {2}, 277: {4}, 338: {2}}, []byte{255, 0, 0, 255, 9, 9, 9, 0}), [2]color.NRGBA{red, {9, 9, 9, 0}}},
		"gray and alpha":   {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8}, 262: {1}, 277: {2}, 338: {1}}, []byte{10, 20, 255, 255}), [2]color.NRGBA{{127, 127, 127, 20}, white}},
		"unnamed sample":   {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8, 8}, 262: {2}, 277: {4}}, []byte{255, 0, 0, 0, 255, 255, 255, 0}), [2]color.NRGBA{red, white}},
		"ycbcr":            {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8, 8, 8}, 262: {6}, 277: {3}, 530: {2, 1}}, []byte{0, 255, 128, 128}), [2]color.NRGBA{black, white}},
		"jpeg":             {tiffOf(le, fields{256: {16}, 257: {16}, 258: {8}, 259: {7}, 262: {1}}, jpegOf(t, image.NewGray(image.Rect(0, 0, 16, 16)))), [2]color.NRGBA{black, black}},
		"no strip counts":  {append(tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 262: {1}, 273: {8 + 2 + 12*5 + 4}}), 3, 4), [2]color.NRGBA{grey(3), grey(4)}},
		"tags not sorted":  {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 262: {1}}, []byte{3, 4}), [2]color.NRGBA{grey(3), grey(4)}},
	} {
		if name == "tags not sorted" { // The first and the second field change places.
			at := int(le.Uint32(c.src[4:])) + 2
			first := bytes.Clone(c.src[at : at+12])
			copy(c.src[at:], c.src[at+12:at+24])
			copy(c.src[at+12:], first)
		}
		beginsWith(t, name, c.src, header.TIFF, c.want)
	}
}

func TestTIFFRefusals(t *testing.T) {
	le := binary.LittleEndian
	type fields = map[uint16][]uint32
	for name, c := range map[string]struct {
		src  []byte
		want event.Reason
	}{
		"float":          {tiffOf(le, fields{256: {2}, 257: {1}, 258: {32}, 262: {1}, 339: {3}}, make([]byte, 8)), event.ReasonUnsupportedFeature},
		"old jpeg":       {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 259: {6}, 262: {1}}, make([]byte, 8)), event.ReasonUnsupportedFeature},
		"short":          {tiffOf(le, fields{256: {2000}, 257: {100}, 258: {8}, 262: {1}}, make([]byte, 800)), event.ReasonTruncated},
		"without strips": {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 262: {1}}), event.ReasonCorrupt},
		// It once was a panic: three channels where there is place for one.
		"colour in gray": {tiffOf(le, fields{256: {16}, 257: {16}, 258: {8}, 259: {7}, 262: {1}}, jpegOf(t, scene(16, 16))), event.ReasonCorrupt},
		"a huge block":   {tiffOf(le, fields{256: {16}, 257: {16}, 258: {8}, 259: {7}, 262: {1}}, jpegOf(t, image.NewGray(image.Rect(0, 0, 500, 500)))), event.ReasonCorrupt},
		"dng":            {tiffOf(le, fields{256: {2}, 257: {1}, 258: {8}, 262: {1}, 0xc612: {0x01040000}}, make([]byte, 8)), event.UnsupportedFormat("raw")},
		"nef":            {tiffOf(le, fields{254: {1}, 256: {2}, 257: {1}, 258: {8}, 262: {1}, 330: {8, 8}}, make([]byte, 8)), event.UnsupportedFormat("raw")},
	} {
		refused(t, name, c.src, header.TIFF, c.want)
	}
}
