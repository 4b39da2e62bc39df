package pixel

import (
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"math/bits"

	"github.com/tintype/tintype/event"
)

// The compressions of a BMP (Windows' BITMAPINFOHEADER).
const (
	bmpRGB            = 0
	bmpRLE8           = 1
	bmpRLE4           = 2
	bmpBitFields      = 3
	bmpAlphaBitFields = 6
)

// A bmpDecoder decodes a BMP. x/image/bmp reads neither OS/2's headers nor run
// lengths nor bit fields, and no file whose pixels stand elsewhere than right
// behind its header.
type bmpDecoder struct {
	ctx           context.Context
	width, height int
	topDown       bool
	depth         int
	compression   uint32
	masks         [4]uint32 // red, green, blue, alpha
	palette       color.Palette
	data          []byte
}

// decodeBMP decodes to image.Paletted or image.NRGBA. width and height are those
// that package header has read and found to be above zero.
func decodeBMP(ctx context.Context, src []byte, width, height int) (image.Image, error) {
	d := &bmpDecoder{ctx: ctx, width: width, height: height}
	if err := d.header(src); err != nil {
		return nil, err
	}
	switch {
	case d.compression == bmpRLE8 && d.depth == 8, d.compression == bmpRLE4 && d.depth == 4:
		return d.runs()
	case d.compression == bmpRGB && (d.depth == 1 || d.depth == 2 || d.depth == 4 || d.depth == 8):
		return d.indexed()
	case d.depth == 24 && d.compression == bmpRGB, d.depth == 16, d.depth == 32:
		return d.direct()
	}
	return nil, event.Refuse(event.ReasonUnsupportedFeature, "bmp of %d bits, compression %d", d.depth, d.compression)
}

// header reads what stands before the pixels.
func (d *bmpDecoder) header(src []byte) error {
	le := binary.LittleEndian
	size := int(le.Uint32(src[14:]))
	if len(src) < 14+size {
		return io.ErrUnexpectedEOF
	}
	info := src[14 : 14+size]
	entry, used, behind := 4, 0, 14+size
	if size < 16 {
		d.depth, entry = int(le.Uint16(info[10:])), 3
	} else {
		d.depth, d.topDown = int(le.Uint16(info[14:])), int32(le.Uint32(info[8:])) < 0
	}
	if size >= 40 {
		d.compression, used = le.Uint32(info[16:]), int(min(le.Uint32(info[32:]), 256))
	} else if size >= 20 && le.Uint32(info[16:]) != bmpRGB {
		return event.Refuse(event.ReasonUnsupportedFeature, "bmp of OS/2 with compression %d", le.Uint32(info[16:]))
	}
	switch d.compression {
	case bmpRGB, bmpRLE8, bmpRLE4:
		d.masks = [4]uint32{0xff0000, 0xff00, 0xff, 0}
		if d.depth == 16 {
			d.masks = [4]uint32{0x7c00, 0x3e0, 0x1f, 0}
		}
		if d.depth == 32 && size >= 56 {
			d.masks[3] = 0xff000000
		}
	case bmpBitFields, bmpAlphaBitFields:
		d.compression = bmpRGB
		if d.depth != 16 && d.depth != 32 {
			return event.Refuse(event.ReasonCorrupt, "bmp of %d bits with bit fields", d.depth)
		}
		fields := src[14+40:]
		most := 3
		if size >= 56 || le.Uint32(info[16:]) == bmpAlphaBitFields {
			most = 4
		}
		if len(fields) < 4*most {
			return io.ErrUnexpectedEOF
		}
		for i := range most {
			d.masks[i] = le.Uint32(fields[4*i:])
		}
		behind = max(behind, 54+4*most)
	default:
		return event.Refuse(event.ReasonUnsupportedFeature, "bmp of compression %d", d.compression)
	}
	at := int64(le.Uint32(src[10:]))
	if d.depth <= 8 {
		if used == 0 {
			used = 1 << d.depth
		}
		end := int64(behind + used*entry)
		if at <= int64(behind) { // Where the palette should be: the pixels stand behind it.
			at = end
		}
		if len(src) < behind {
			return io.ErrUnexpectedEOF
		}
		table := src[behind:min(end, at, int64(len(src)))]
		d.palette = make(color.Palette, 256)
		for i := range d.palette {
			d.palette[i] = color.NRGBA{A: 255}
			if (i+1)*entry <= len(table) {
				d.palette[i] = color.NRGBA{table[i*entry+2], table[i*entry+1], table[i*entry], 255}
			}
		}
	}
	d.data = src[min(at, int64(len(src))):]
	return nil
}

// rows calls each with the bytes of every row and its place in the picture.
func (d *bmpDecoder) rows(each func(y int, row []byte)) error {
	stride := (d.width*d.depth + 31) / 32 * 4
	for i := range d.height {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		y := d.height - 1 - i
		if d.topDown {
			y = i
		}
		// The last row may lack what only fills it up.
		if len(d.data) < (d.width*d.depth+7)/8 {
			return io.ErrUnexpectedEOF
		}
		each(y, d.data)
		d.data = d.data[min(stride, len(d.data)):]
	}
	return nil
}

func (d *bmpDecoder) indexed() (image.Image, error) {
	img := image.NewPaletted(image.Rect(0, 0, d.width, d.height), d.palette)
	err := d.rows(func(y int, row []byte) {
		out := img.Pix[y*img.Stride:][:d.width]
		for x := range out {
			bit := x * d.depth
			out[x] = row[bit/8] >> (8 - d.depth - bit%8) & (1<<d.depth - 1)
		}
	})
	return img, err
}

func (d *bmpDecoder) direct() (image.Image, error) {
	img := image.NewNRGBA(image.Rect(0, 0, d.width, d.height))
	visible := false
	err := d.rows(func(y int, row []byte) {
		out := img.Pix[y*img.Stride:][:4*d.width]
		for x := 0; x < len(out); x += 4 {
			px := out[x : x+4 : x+4]
			if d.depth == 24 {
				at := x / 4 * 3
				px[0], px[1], px[2], px[3] = row[at+2], row[at+1], row[at], 255
				continue
			}
			var v uint32
			if d.depth == 16 {
				v = uint32(binary.LittleEndian.Uint16(row[x/2:]))
			} else {
				v = binary.LittleEndian.Uint32(row[x:])
			}
			for c := range 4 {
				px[c] = field(v, d.masks[c])
			}
			visible = visible || px[3] != 0
		}
	})
	if d.depth != 24 && !visible { // No alpha channel, or one that nobody filled.
		for i := 3; i < len(img.Pix); i += 4 {
			img.Pix[i] = 255
		}
	}
	return img, err
}

// field is the part of v under a mask, brought to 8 bits.
func field(v, mask uint32) byte {
	if mask == 0 {
		return 0
	}
	low := bits.TrailingZeros32(mask)
	return byte(uint64((v&mask)>>low) * 255 / uint64(mask>>low))
}

// runs decodes run lengths: pairs of a count and an index, or escapes that end a
// row or the picture, move on, or hold indexes as they are.
func (d *bmpDecoder) runs() (image.Image, error) {
	img := image.NewPaletted(image.Rect(0, 0, d.width, d.height), d.palette)
	x, line := 0, 0
	put := func(index byte) {
		y := d.height - 1 - line
		if d.topDown {
			y = line
		}
		if x < d.width && y >= 0 && y < d.height {
			img.Pix[y*img.Stride+x] = index
		}
		x++
	}
	nibble := func(b byte, i int) byte {
		switch {
		case d.depth == 8:
			return b
		case i%2 == 0:
			return b >> 4
		}
		return b & 15
	}
	perByte := 8 / d.depth
	for data := d.data; line < d.height; {
		if len(data) < 2 {
			return nil, io.ErrUnexpectedEOF
		}
		count, value := int(data[0]), data[1]
		data = data[2:]
		switch {
		case count > 0:
			for i := range count {
				put(nibble(value, i))
			}
		case value == 0:
			x, line = 0, line+1
			if err := d.ctx.Err(); err != nil {
				return nil, err
			}
		case value == 1:
			return img, nil
		case value == 2:
			if len(data) < 2 {
				return nil, io.ErrUnexpectedEOF
			}
			x, line = x+int(data[0]), line+int(data[1])
			data = data[2:]
		default:
			length := (int(value) + perByte - 1) / perByte
			if len(data) < length {
				return nil, io.ErrUnexpectedEOF
			}
			for i := range int(value) {
				put(nibble(data[i/perByte], i))
			}
			data = data[min(length+length&1, len(data)):]
		}
	}
	return img, nil
}
