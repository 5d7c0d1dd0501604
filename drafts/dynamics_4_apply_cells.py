TITLE_PHOTO = ", and of my own picture" if PHOTOGRAPH else ""
md("apply-title", f"""
# What does it make of my own clip{TITLE_PHOTO}?

*Generative Image Dynamics, sections 3 to 6; the formats of real clips.* 25 min to read · <!-- cost --><!-- /cost --> · no download · GPU optional

You film a plant for five seconds. This page takes the file as it comes, with its trembling hand, its grain and what the codec left out, measures how everything moved, and gives it back to you as something that you can pull. It does so on a small clip that comes with the book, and on yours if you name one. No network is needed for any of it{", until the last picture but one" if PHOTOGRAPH else ""}: a spectrum of a *video* is measured, not drawn by a model.

The clip is drawn, not filmed, and for one reason: it is the only kind of which anybody knows what really moved. So this once you see how wrong the measurement is.

**After this page you can**

1. read any clip by its own clock, and know the ways in which a clip spoils a spectrum in silence;
2. measure its motion, say where the measurement lies, and take out the camera's tremble without taking out the plant's;
3. animate its first frame, pull it, slow it down, and say what that looks like where it fails;
4. hand the result on: as one HTML file, as a clip that browsers play, as numbers that other programs read.

**Before:** [1_idea](1_idea.ipynb). [2_build](2_build.ipynb) helps, but is not needed.
""")

code("apply-imports", """
import os
import tempfile
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from bestpapers.course import plots, presets
from bestpapers.dynamics import clips, formats, modal, render, spectral
from bestpapers.dynamics import flow as flows
from bestpapers.dynamics.formats.page import write_page
from bestpapers.dynamics.widgets import Pluck
from bestpapers.kernels import dispatch

plots.use()
folder = Path(tempfile.mkdtemp())
""")

code("apply-report", """
presets.report(dispatch.report(presets.device()))
""", ["nbval-ignore-output"])

md("apply-first-text", """
Before anything else, the whole way in three lines: a file, how far each pixel is from where it was in frame 0, and the sixteen lowest notes of that.
""")
code("apply-first", """
clip = formats.read_video(clips.SUNFLOWERS)  # 150 frames, 30 a second, 160 x 256 px
flow = flows.estimate(clip.frames)  # [150, 2, 160, 256] px, frame 0 to each
first = spectral.volume(flow)  # [16, 2, 160, 256], from 0 to 3 Hz
""")
code("apply-first-figure", """
shown = [2, 3, 4]
maps = first[shown].abs().square().sum(1).sqrt() * 2 / 150  # px
fig, axes = plt.subplots(1, 4, figsize=(9.2, 1.9), sharey=True)
axes[0].imshow(clip.frames[0])
axes[0].set(title="first frame", ylabel="y (px)")
for ax, k, field in zip(axes[1:], shown, maps):
    drawn = ax.imshow(field, vmin=0, vmax=float(field[50:].quantile(0.995)))
    ax.set_title(f"{spectral.frequencies()[k]:.1f} Hz")
    fig.colorbar(drawn, ax=ax, fraction=0.03, label="swing (px)")
for ax in axes:
    ax.set_xlabel("x (px)")
    ax.grid(False)
plots.show(
    fig,
    alt="A drawn field of sunflowers, and three maps of how far each pixel swings at "
    "0.4, 0.6 and 0.8 hertz: in each other heads of the flowers are bright, and in all "
    "of them a patch of the sky.",
    caption="One clip, three of its notes. Bright is what swings at that frequency: "
    "every stalk has its own. And a patch of the sky seems to swing as well.",
)
alike = np.corrcoef(maps[:, 50:].flatten(1).numpy())
assert alike[0, 2] < 0.7, "slow and fast notes live in other flowers"
""")
md("apply-first-read", """
Nobody told the program that there are flowers. It found which of them belong together by *when* they move.

But look at the upper right corner. The *sky* swings, too, and that cannot be. The program did not complain; it never does. So, slowly, from the start.

## 1. A clip is not a list of frames

`read_video` chooses frames by the time at which each is to be shown. It never divides a frame's number by the rate in the header, since headers are wrong about both. And it says what it found:
""")
code("apply-told", """
def say(text):
    for line in str(text).splitlines():
        print(fill(line, 88, subsequent_indent="  "))


say(clip.report)
assert "camera" in clip.report.kinds and clip.frames.shape == (150, 160, 256, 3)
""")
md("apply-slower-text", """
Remember that line for section 2. The hand that held this camera did tremble.

Now the trap that costs most. A telephone slows down when it gets dark: from second 2.5 on it takes every other frame only, and writes into the file when each is to be shown. You count the frames, and play them at 30 a second.

:::{dropdown} A flower swings at 0.6 Hz all the while. What do you see, and what does a spectrum say?
From second 2.5 on it swings twice as fast, and the clip is over after 3.8 seconds. The spectrum gets a second peak at 1.2 Hz, of a motion that has never been. Nothing else looks wrong.
:::
""")
code("apply-slower", """
kept = [*range(75), *range(75, 150, 2)]
lasts = [33] * 75 + [67] * 38  # milliseconds on the screen
pictures = [Image.fromarray(clip.frames[n]) for n in kept]
how = dict(save_all=True, duration=lasts, quality=80, method=0)
pictures[0].save(folder / "dark.webp", append_images=pictures[1:], **how)
dark = formats.read_video(folder / "dark.webp")
for finding in dark.report.findings[:2]:
    say(f"- {finding.text}")
assert {"variable rate", "low rate"} & set(dark.report.kinds)
""")
code("apply-slower-even", """
x, y = 119, 94  # the large head in the middle
path = flow[:, 0, y, x]
counted = path[kept]  # frame by frame, as if 30 a second
at = torch.from_numpy(dark.times * 30).round().long()  # what was on the screen then
timed = dark.even(flow[..., y : y + 1, x : x + 1][at])[:, 0, 0, 0]
worst = [float((p - path[: len(p)]).abs().max()) for p in (counted, timed)]
print(f"largest error: counted {worst[0]:.1f} px, by their times {worst[1]:.1f} px")
assert worst[0] > 2 and worst[1] < 0.5
""", tolerance={"abs": 0.2})
code("apply-slower-figure", """
fig, ax = plt.subplots(figsize=(7.2, 2.8))
seconds = np.arange(150) / 30
ax.plot(seconds, path, label="all 150 frames", marker="", lw=3, alpha=0.5)
ax.plot(seconds[: len(counted)], counted, label="counted", marker="")
ax.plot(seconds, timed, label="by their times, evened", marker="")
ax.axvline(2.5, color=plots.INK, lw=0.8)
ax.set(xlabel="time (s)", ylabel="x, from frame 0 (px)")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plots.show(
    fig,
    alt="Paths of one flower head over five seconds. Counted frame by frame, the path "
    "is squeezed to double speed after second 2.5; by the times in the file it lies on "
    "the true one.",
    caption="From second 2.5 on (line) the file has every other frame. Clip.even puts "
    "straight lines between the frames that were there.",
)
""")
md("apply-refused-text", """
The rest of what goes wrong in silence. The cell makes five bad clips of our good one, as folders of frames, and has them read. What cannot work is refused; what can, is told:
""")
code("apply-bad", """
n, rng = np.arange(150), np.random.default_rng(0)
good = clip.frames
grain = rng.integers(-2, 3, (150, 160, 256, 1), dtype=np.int16)
bad = {
    "two seconds of it": good[:60],
    "from 15 a second": good[n // 2 * 2],
    "a cut": np.concatenate([good[:90], good[90:, :, ::-1]]),
    "a pan": np.stack([np.roll(f, -(k // 4), axis=1) for k, f in zip(n, good)]),
    "no wind": np.clip(good[:1] + grain, 0, 255).astype(np.uint8),
}
""")
code("apply-refused", """
told = {}
for name, frames in bad.items():
    place = folder / name
    place.mkdir()
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(place / f"{k}.jpg", quality=95)
    try:
        found = formats.read_video(place).report.findings
        told[name] = [f"{finding.kind}: {finding.text}" for finding in found]
    except formats.FormatError as error:
        told[name] = [f"refused: {error.expected} expected, {error.found}"]
    say(f"{name.upper()}. {told[name][-1]}")
words = ("refused", "duplicates", "cut", "camera", "still")
assert all(row[-1].startswith(word) for row, word in zip(told.values(), words))
""")
md("apply-refused-read", """
The sixth is not in the list, since this page cannot make one: an **AV1** file. OpenCV opens it, says how many frames it has, and gives none. You are told so, with the way out (`pip install av`). The [page on your own video](../../book/dynamics/your_video.md) has the whole list, and what to film.

## 2. How far did it move?

Flow is an estimate: for each pixel of frame 0, where in frame $n$ does its surrounding look most alike? Three methods without training are at hand. Since the clip is drawn, we have the exact answer, and can score them: the *end-point error* is how far the estimate ends from the truth.

:::{dropdown} Where will the error be largest: on the flowers, which move, or on the meadow and the sky, which do not?
It is about as large where nothing moves. Read on for why: there are two reasons, and only one of them is in the flowers.
:::
""")
code("apply-truth", """
true, shake, plant = clips.truth(160, 256)  # of the scene, of the hand; what can move
exact = true + shake[:, :, None, None]
some = slice(10, 150, 20)  # every 20th frame will do
print("mean end-point error in px   flowers   meadow and sky")
table = {"nothing moved": torch.zeros_like(exact[some])}
for method in flows.METHODS:
    chosen = np.concatenate([good[:1], good[some]])
    table[method] = flows.estimate(chosen, method)[1:]
for method, found in table.items():
    on, off = (float(flows.epe(found, exact[some], m)) for m in (plant, ~plant))
    print(f"{method:26} {on:9.2f} {off:16.2f}")
    table[method] = on
assert table["dis2x"] < min(table["dis"], table["farneback"]) < table["nothing moved"]
""", tolerance={"abs": 0.03})
md("apply-back-text", """
`dis2x`, the default, works on pictures of twice the size. It is the best of the three on the flowers. Where is the rest of the error?

On your clip nobody has the truth. What you have is the way back: measure from frame $n$ to frame 0 as well, start where the first flow ended, and see whether you come home. If $F$ leads there and $B$ back, the mismatch is $|F(p) + B(p + F(p))|$. Will it show you where the flow is wrong? Here both can be compared:
""")
code("apply-back", """
n = 139
there = flow[n]
back = torch.from_numpy(flows.dis2x(good[n], good[0])).permute(2, 0, 1)
home = render.backward(back[None], -there[None])[0]  # B, looked up at p + F(p)
mismatch = (there + home).norm(dim=0)
error = (there - exact[n]).norm(dim=0)
""")
code("apply-back-places", """
pool = torch.nn.functional.max_pool2d
spread = pool(exact[n], 5, 1, 2) + pool(-exact[n], 5, 1, 2)  # most less least, in 5 x 5
rims = spread.amax(0) > 1  # two motions meet here
sky = torch.zeros(160, 256, dtype=torch.bool)
sky[:40] = True
places = {"sky": sky, "rims": rims, "the rest": ~(sky | rims)}
print("            error    does not come home by   (px)")
found = {}
for name, where in places.items():
    found[name] = [float(field[where].mean()) for field in (error, mismatch)]
    print("{:10} {:6.2f} {:16.2f}".format(name, *found[name]))
assert found["rims"][0] > 2 * found["the rest"][0] < found["sky"][0]
assert found["sky"][1] > 2 * found["the rest"][1]
""", tolerance={"abs": 0.05})
code("apply-back-figure", """
fig, axes = plt.subplots(1, 3, figsize=(9.2, 2.3), sharey=True)
axes[0].imshow(good[0], alpha=0.6)
ys, xs = np.mgrid[6:160:12, 6:256:12].reshape(2, -1)
u, v = exact[n][:, ys, xs]
arrows = dict(angles="xy", scale_units="xy", scale=0.3, color=plots.INK, width=0.004)
axes[0].quiver(xs, ys, u, v, **arrows)
axes[0].set(title="what moved (arrows 3 x)", ylabel="y (px)")
for ax, field, title in (
    (axes[1], error, "error of the flow"),
    (axes[2], mismatch, "does not come home by"),
):
    drawn = ax.imshow(field, vmin=0, vmax=3)
    ax.set_title(title)
fig.colorbar(drawn, ax=axes[1:], fraction=0.02, label="px", extend="max")
for ax in axes:
    ax.set_xlabel("x (px)")
    ax.grid(False)
plots.show(
    fig,
    alt="Left: the first frame with arrows on the flowers. Middle: the error of the "
    "flow, bright in thin rims around the heads and in patches of the sky. Right: the "
    "mismatch of the way there and back, bright in a patch of the sky and nearly dark "
    "at the rims.",
    caption="Flow from frame 0 to frame 139. Going there and back betrays the sky, and "
    "hardly the rims.",
)
""")
md("apply-back-read", """
So there are two kinds of error. **The sky** has nothing to hold on to: one patch of even blue looks like the next, grain decides, and the way back goes elsewhere. That you can find out, on any clip, if not in every frame. **The rims** are where two motions meet. A patch there holds more flower than meadow, and the flower takes its neighbourhood along, on the way there and, just so, on the way back: it comes home, and was wrong all the same. This is the paper's limit of thin objects, and no check of this kind sees it.

### The hand

The reader has warned you. A tremble moves all pixels alike, so the usual remedy is to subtract the middle (median) motion of the picture from every frame. `remove_shift` does that, and if you tell it where to look, it looks there only. Where should it look? Six pixels of ten belong to flowers, which move. The sky does not.

:::{dropdown} All of the picture, the sky, or the strip of far meadow below it: which tells best what the hand did?
The strip. It stands still, as the sky does; and unlike the sky it has something to see.
:::
""")
code("apply-shake", """
strip = torch.zeros_like(sky)
strip[40:50] = True
asked = {"all of it": sky | ~sky, "the sky": sky, "far meadow": strip}
hands = {name: flows.remove_shift(flow, still=m)[1] for name, m in asked.items()}
print("asked          mean error    of it steady, in x   (px)")
for name, found in {"nobody": 0 * shake, **hands}.items():
    miss = found - shake
    print(f"{name:12} {miss.norm(dim=1).mean():11.2f} {miss[:, 0].mean():z14.2f}")
hand = hands["far meadow"]
steady = flow - hand[:, :, None, None]
misses = {name: (h - shake).norm(dim=1).mean() for name, h in hands.items()}
assert min(misses, key=misses.get) == "far meadow" and misses["the sky"] > 0.2
""", tolerance={"abs": 0.03})
code("apply-shake-figure", """
fig, ax = plt.subplots(figsize=(7.2, 2.6))
ax.plot(seconds, shake[:, 0], label="the hand, in truth", marker="", lw=3, alpha=0.5)
for name in ("far meadow", "the sky"):
    ax.plot(seconds, hands[name][:, 0], label=name, marker="")
ax.set(xlabel="time (s)", ylabel="shift in x (px)")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plots.show(
    fig,
    alt="Three curves over five seconds: the true shift of the camera, what the far "
    "meadow says, which follows it, and what the sky says, which jumps about.",
    caption="What the camera did in x, and what two strips of the picture say it did.",
)
""")
md("apply-volume-text", """
## 3. Its spectrum

Now the spectrum in earnest: of the steady flow, all 76 slices, 0 to 15 Hz. Two questions of the paper can be put to any clip. How does loudness fall with frequency? And how much of the motion do sixteen slices keep?

:::{dropdown} The paper says that amplitude falls "exponentially". Straight on which kind of paper, then? And will it be so here?
An exponential is straight when only the height is logarithmic; a power law, $1/f$ say, when both are. Which of the two fits better depends on how far you look, and, as you will see, on whether you look at the plant or at the measurement. [1_idea](1_idea.ipynb) asks many clips; this is one.
:::
""")
code("apply-volume", """
def look_at(flow, sky=0):
    \"\"\"Both laws on two ranges, and the energy kept; returns the whole spectrum.\"\"\"
    whole = spectral.volume(flow, None)
    moves = spectral.moving(whole, 0.5)
    moves[:sky] = False  # rows at the top that are not to be believed
    loud = spectral.amplitude(whole, moves).mean(1)
    fits = spectral.fit_spectrum(loud, spectral.frequencies(len(loud)))
    for fit in fits:
        upto = f"R2 up to {fit.last / 5:4.1f} Hz:"
        laws = f"exponential {fit.exponential.r2:.2f}, power law {fit.power.r2:.2f}"
        print(upto, laws)
    kept = spectral.energy_kept(whole[..., moves][..., None], constant=False)
    said = ", ".join(f"{100 * kept[K - 1]:.0f} % with K = {K}" for K in (4, 8, 16))
    print(f"energy of what swings: {said}")
    return whole, moves, loud, fits
""")
code("apply-spectrum", """
print("MEASURED")
whole, moves, loud, fits = look_at(steady, sky=40)
print("TRUTH")
exact_S, _, exact_loud, exact_fits = look_at(true)
S = spectral.first_frame(whole[:16])  # starts at the picture
S[..., :40, :] = 0  # the sky stands still
assert exact_fits[0].winner == "exponential" and exact_fits[1].winner == "power law"
""", tolerance={"abs": 0.02})
code("apply-spectrum-figure", """
hertz = spectral.frequencies(76).numpy()
truth = spectral.amplitude(exact_S, moves).mean(1)
fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.0), sharey=True, layout="constrained")
for ax in axes:
    ax.plot(hertz[1:], loud[1:], "o", ms=3, label="measured")
    ax.plot(hertz[1:], truth[1:], "-", marker="", label="truth")
    short, long = fits
    f = hertz[1:16]
    line = np.exp(short.exponential.intercept + short.exponential.slope * f)
    ax.plot(f, line, "-.", marker="", label="exponential, to 3 Hz")
    line = np.exp(long.power.intercept) * hertz[1:] ** long.power.slope
    ax.plot(hertz[1:], line, ":", marker="", label="power law, to 15 Hz")
    ax.set(yscale="log", xlabel="frequency (Hz)")
axes[0].set(xscale="log", title="a power law is straight here")
axes[0].set_ylabel("amplitude (px, summed)")
axes[1].set_title("an exponential is straight here")
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
plots.show(
    fig,
    alt="Amplitude against frequency, twice, with both axes and with the height only "
    "logarithmic. The measured points follow the truth up to about 1 hertz, and lie "
    "more and more above it beyond, until they are level.",
    caption="Mean amplitude of what moves. Where the measured points leave the truth, "
    "flow's own error is louder than the plant.",
)
gap = (loud / truth).log10()
assert gap[1:6].abs().mean() < 0.15 and gap[40:].mean() > 0.3
""")
md("apply-spectrum-read", """
The right part of the curve is worth a second look. Up to 1 Hz the points are the plant. From there on they leave it, and beyond 3 Hz they are level: that is no plant any more, but the grain of the camera and what is left of the hand, some hundredths of a pixel at each frequency. So sixteen slices are not only what is *enough*. On a clip of a telephone they are more than what is *true*, and a law fitted to all 74 is a law of the measurement, too.

### Whose note is it?

The loudest slice at a flower's head should be the note of its stalk. The simulator knows; does the clip?
""")
code("apply-notes", """
heads = {"left": (38, 106), "middle": (119, 94), "right": (243, 110), "white": (170, 121)}
print("head      measured      truth")
notes = []
for name, (px, py) in heads.items():
    loudest = [
        int(volume[1:16, :, py, px].abs().square().sum(1).argmax()) + 1
        for volume in (S, exact_S)
    ]
    print(f"{name:8} {loudest[0] / 5:6.1f} Hz {loudest[1] / 5:8.1f} Hz")
    notes.append(loudest)
assert np.abs(np.diff(notes)).max() <= 1, "never off by more than a slice"
""")
md("apply-own-text", """
### Yours

Name a file in `BESTPAPERS_VIDEO` before you start JupyterLab, and this cell says the same of it: a video, an animated GIF or WebP, or a folder of frames. Plants in light wind, camera on something solid, five seconds.
""")
code("apply-own", """
own = os.environ.get("BESTPAPERS_VIDEO")
if own:
    mine = formats.read_video(own)
    say(mine.report)
    fields = mine.even(flows.estimate(mine.frames))
    look_at(flows.remove_shift(fields)[0] if "camera" in mine.report.kinds else fields)
else:
    print("BESTPAPERS_VIDEO is not set: no clip of yours to look at")
""", ["nbval-ignore-output"])

md("apply-animate-text", """
## 4. Animate its first frame

Forget all frames but the first. From it and sixteen slices the clip is made anew: the motion by the inverse transform, each frame by *softmax splatting*, in which pixels are carried to where they go and what moves more lies in front. It is what the paper does with a spectrum drawn by its model. Here the spectrum is measured, so that whatever looks wrong is the fault of flow and renderer alone.

:::{dropdown} Three ways to fail: the wrong motion, missing slices, no picture of what was hidden. Which costs most?
Wrong motion and missing slices cost about the same here: with the exact flow you win two decibels, with four slices in place of sixteen you lose a little more. What was hidden comes out worst of all, and is a pixel or two of a hundred.
:::
""")
code("apply-animate", """
again = spectral.motion(S) + hand[:, :, None, None]  # tremble as the clip does
made = np.stack(list(render.frames(good[0], again[::2])))  # every other frame
assert made.shape == (75, 160, 256, 3)
assert np.abs(made[0].astype(int) - good[0]).max() <= 1  # it starts at the picture
""")
code("apply-scores", """
at = torch.tensor([30, 70, 110, 140])
few = spectral.motion(spectral.first_frame(whole[:4])) + hand[:, :, None, None]
motions = {"no motion": torch.zeros(1, 2, 160, 256).expand_as(flow), "K = 4": few, "K = 16": again, "exact flow": exact}
print(f"PSNR in dB, mean of frames {at.tolist()}")
print(f"{'':12}" + "".join(f"{w:>8}" for w in ("all", "edges", "holes", "rest")))
scores = {}
for name, motion in motions.items():
    W = render.nearness(motion[::5])
    drawn = render.frames(good[0], motion[at], W=W)
    row = render.score(drawn, good[at.numpy()], exact[at])
    scores[name] = [row["psnr" + w] for w in ("", "_edges", "_holes", "_rest")]
    print(f"{name:12}" + "".join(f"{value:8.1f}" for value in scores[name]))
overall = [row[0] for row in scores.values()]
assert overall == sorted(overall), "each is better than the one before"
""", tolerance={"abs": 0.3})
code("apply-animate-figure", """
row = 94  # a line through the heads
fig, axes = plt.subplots(1, 3, figsize=(9.2, 2.9), width_ratios=(1.15, 1, 1))
axes[0].imshow(good[0])
axes[0].axhline(row, color="white", lw=1.2)
axes[0].set(title="first frame", xlabel="x (px)", ylabel="y (px)")
for ax, frames, title in (
    (axes[1], good, "the clip"),
    (axes[2], made, "made of frame 0 and 16 slices"),
):
    ax.imshow(frames[:, row], extent=(0, 256, 5, 0), aspect="auto")
    ax.set(title=title, xlabel="x (px)", ylabel="time (s)")
for ax in axes:
    ax.grid(False)
plots.show(
    fig,
    alt="Left: the first frame with a line through the flower heads. Middle and right: "
    "that line of pixels over time, in the clip and as made of the first frame. The "
    "same waves in both; the right one has frayed edges.",
    caption="One line of pixels over five seconds. Where heads swing, their edges draw "
    "waves. The made clip has the same waves, with edges that fray.",
)
pair = np.stack([frames[:, row].ravel() for frames in (good[::2], made)])
alike = np.corrcoef(pair)[0, 1]
assert alike > 0.85
""")
md("apply-pluck-text", """
## 5. Pull it

The same slices are vibration modes. Take any head with mouse, finger or keys, pull, let go. **It needs no model**, only a clip. Turn to the loop, and the wind of the clip blows for ever; the equaliser shows which flowers belong to which note.
""")
code("apply-pluck", """
pluck = Pluck.from_spectrum(
    good[0],
    S,
    limit=260_000,
    alt="A drawn field of sunflowers under a blue sky.",
    caption="The first frame of the clip, moved by its own sixteen slices. Pull the "
    "large head in the middle, then one at the back.",
)
pluck
""")
md("apply-release-text", """
The pulled point follows the cursor as far as it can (a head moves along a slanted line, and not across it), and what hangs with it comes along. Is that what the plant *would have done*? The simulator can pull the same head and let go. Compare:
""")
code("apply-release", """
modes = modal.Modes.of(S)
event = modal.release(modes, x, y, 8.0, 0.0)  # 8 px to the right
swung = modal.trajectory(modes, modal.respond(modes, [event], modal.clock()), x, y)
assert abs(swung[0, 0] - 8) < 0.5  # it is where the cursor is, or nearly

q = clips.drawn().scene.release(x, y, 8.0, 0.0, 150, 30.0, 160, 256)
real = torch.from_numpy(clips.drawn().scene.flow(q, 160, 256))
print(f"held at: {swung[0, 0]:.1f} px by the modes, {real[0, 0, y, x]:.1f} px in truth")
""", tolerance={"abs": 0.1})
code("apply-release-figure", """
pose = modal.displacement(modes, event.q[None])[0]
fig, axes = plt.subplots(1, 3, figsize=(9.2, 2.5), width_ratios=(1, 1, 1.2))
for ax, field, who in ((axes[0], real[0], "truth"), (axes[1], pose, "modes")):
    drawn = ax.imshow(field.norm(dim=0), vmin=0, vmax=9)
    ax.plot(x, y, "o", mfc="none", mec="white")
    ax.set(title=f"pulled: {who}", xlabel="x (px)", ylabel="y (px)")
    ax.grid(False)
fig.colorbar(drawn, ax=axes[1], fraction=0.03, label="px")
axes[2].plot(seconds, real[:, 0, y, x], label="truth", marker="")
axes[2].plot(seconds, swung[:, 0], label="modes", marker="")
axes[2].set(title="let go", xlabel="time (s)", ylabel="x of the head (px)")
axes[2].legend()
plots.show(
    fig,
    alt="Two maps of how far each pixel is pulled: in truth one flower, by the modes "
    "the same flower and faintly much else. Right: its path after release, two "
    "decaying swings of like rhythm, of which that by the modes dies away much sooner.",
    caption="The head in the middle, 8 px to the right, and let go. The circle is "
    "where it is held.",
)
near = real[0].norm(dim=0) > 4
assert pose.norm(dim=0)[near].mean() > 3 * pose.norm(dim=0)[plant & ~near].mean()
""")
md("apply-release-read", """
The *shape* is right where it matters: the pulled flower is the one that moves. Others come along a little, since a slice holds all that swings at its frequency, whether or not it hangs together. The *rhythm* is near, as slices come in steps of 0.2 Hz; with it we were lucky. The *decay* is made up: nothing in a spectrum of five windy seconds says how fast a plant comes to rest, so the paper sets the damping by hand, and this plant rings longer. (The widget has a slider for it.) "Plausible" is the paper's word, and the honest one.

### Send it to somebody

One file, with picture, motion and program in it. It asks no server for anything.
""")
code("apply-page", """
import re

page = folder / "sunflowers.html"
write_page(page, pluck, "Sunflowers to pull")
text = page.read_text(encoding="utf-8")
hosts = set(re.findall(r"https?://[^\\s\\"'\\\\<>]+", text))
print(f"one file of {len(text) / 1e6:.1f} MB; addresses in it: {', '.join(hosts)}")
assert hosts <= {"http://www.w3.org/2000/svg"} and len(text) < 1e6  # a name, no address
""")

if PHOTOGRAPH:
    md("apply-photograph-text", """
## 6. One photograph

All up to here needed a clip. The point of the paper is that a photograph will do: a model *draws* the spectrum. Ours was trained on drawn trees, flowers, lanterns and water, and has not seen one photograph in its life. Here is one, which comes with scikit-learn:
""")
    code("apply-photograph", """
from sklearn.datasets import load_sample_image

from bestpapers.dynamics import weights

animator = weights.load()
given = os.environ.get("BESTPAPERS_PICTURE")
photograph = load_sample_image("flower.jpg")[14:414, :]  # 400 x 640, as 5 : 8
small = Image.fromarray(photograph).resize((256, 160), Image.Resampling.LANCZOS)
photo = np.asarray(small)
draws = animator.draw(photo, [0, 1, 2], calls=25)  # [3, 16, 2, 160, 256]
far = spectral.motion(draws[0])
""")
    code("apply-photograph-figure", """
moves = [(2 * d[1:].abs().square().sum((0, 1))).sqrt() / 150 for d in draws]
fig, axes = plt.subplots(1, 4, figsize=(9.2, 1.9), sharey=True)
axes[0].imshow(photo)
axes[0].set(title="the photograph", ylabel="y (px)")
top = max(float(m.quantile(0.995)) for m in moves)
for ax, field, k in zip(axes[1:], moves, "123"):
    drawn = ax.imshow(field, vmin=0, vmax=top)
    ax.set_title(f"draw {k}")
fig.colorbar(drawn, ax=axes[1:], fraction=0.02, label="swing, RMS (px)")
for ax in axes:
    ax.set_xlabel("x (px)")
    ax.grid(False)
plots.show(
    fig,
    alt="A photograph of a pink flower before dark green, and three maps of how far the "
    "model lets each pixel swing.",
    caption="Photograph: vultilion, Flickr, CC BY 2.0 (as flower.jpg with scikit-learn), "
    "cropped and made small. Three draws of the model, one picture.",
)
""")
    code("apply-leak", """
rows, columns = np.mgrid[:160, :256]
flower = torch.from_numpy(((columns - 150) / 75) ** 2 + ((rows - 80) / 70) ** 2 < 1)
for k, field in enumerate(moves, 1):
    inside, outside = field[flower].mean(), field[~flower].mean()
    print(f"draw {k}: {inside:.2f} px on the flower, {outside:.2f} px around it")
assert all(torch.isfinite(field).all() for field in moves)
""", tolerance={"abs": 0.1})
    code("apply-photograph-pluck", """
Pluck.from_spectrum(
    photo,
    draws[0],
    limit=200_000,
    alt="A photograph of a pink flower before dark green leaves.",
    caption="The photograph, pulled. Photograph: vultilion, Flickr, CC BY 2.0, cropped.",
)
""")
    md("apply-photograph-read", """
**How far does it carry?** The model finds out where *something like a plant* is, and lets it swing at frequencies that plants have. It does not know this flower: it has no idea of how its stalk runs behind the picture's edge, it lets parts of the ground come along, and on a face, a candle or a flag it draws what it would draw for a leaf. Nobody should call that a prediction. The paper's model has seen 3,015 real clips; what separates the two is the data, not the method.

Yours: `BESTPAPERS_PICTURE` names a photograph.
""")
    code("apply-own-picture", """
if given:
    with Image.open(given) as image:
        mine = np.asarray(image.convert("RGB").resize((256, 160)))
    swing = animator.draw(mine, [0], calls=25)[0]
    path = folder / "mine.html"
    write_page(path, Pluck.from_spectrum(mine, swing, alt="Your picture."), "Mine")
    print(f"written: {path}")
else:
    print("BESTPAPERS_PICTURE is not set: no picture of yours to move")
""", ["nbval-ignore-output"])

N = 7 if PHOTOGRAPH else 6
md("apply-out-text", f"""
## {N}. Out of here

A spectral volume without its T and its rate is worth nothing: 149 samples at 25 a second look like any other numbers, and play at the wrong speed. So both stand in the file's header, with K, the normalisation, and whether the motion starts at the picture.
""")
code("apply-out", """
from safetensors import safe_open

volume = formats.SpectralFile(S, frames=150, rate=30.0, first_frame="zero")
formats.write_spectrum(folder / "sunflowers.safetensors", volume)
with safe_open(folder / "sunflowers.safetensors", "pt") as file:
    for key, value in sorted(file.metadata().items()):
        print(f"{key:14} {value}")
read = formats.read_spectrum(folder / "sunflowers.safetensors")
assert torch.equal(read.spectrum, S) and (read.frames, read.rate) == (150, 30.0)
formats.write_flo(folder / "139.flo", flow[139])  # what flow programs exchange
assert torch.equal(formats.read_flo(folder / "139.flo"), flow[139])
""")
md("apply-clips-text", """
And clips. WebM with VP9 is small and plays in every browser; WebP and GIF go where pictures go. What OpenCV writes as MP4 when nobody stops it plays in no browser, so it is not offered: H.264 is, with PyAV.
""")
code("apply-clips", """
for name in ("sunflowers.webm", "sunflowers.webp", "sunflowers.gif"):
    formats.write_clip(folder / name, made, rate=15)
    length = formats.read_video(folder / name, frames=75, rate=15).report.seconds
    print(f"{name:16} {length:.1f} s")
    assert abs(length - 5) < 0.05
try:
    formats.write_clip(folder / "sunflowers.avi", made)
except ValueError as error:
    say(error)
else:
    raise AssertionError("an ending that browsers do not know was taken")
""")
code("apply-mp4", """
try:
    formats.write_clip(folder / "sunflowers.mp4", made, rate=15)
    print("sunflowers.mp4 is written: H.264, by PyAV")
except ValueError as error:
    say(error)
""", ["nbval-ignore-output"])

md("apply-gain-text", f"""
## {N + 1}. More, less, slower

All of this is linear, so the oldest tricks are free. Multiply the slices by $g$ and everything moves $g$ times as far; a negative $g$ leans left where the wind blew right. Ask the series between two frames and you get slow motion, exactly.

What does *not* come along is the picture. The farther things go, the more they lay bare that no photograph has seen:
""")
code("apply-gain", """
far = int(path.argmax())  # the frame in which the middle head is farthest out
gains, shots, torn = (-2, -1, 0, 1, 2, 4), [], []
W = render.nearness(spectral.motion(S, times=range(0, 150, 5)))
for gain in gains:
    moved = spectral.motion(modal.magnify(S, gain), times=[float(far)])
    shots.append(next(render.frames(good[0], moved, W=W)))
    holes = render.splat(render.to_float(good[0])[None], moved, W)[1]
    torn.append(100 * float(holes.float().mean()))
assert torn[2] == 0 and torn[3] < torn[4] < torn[5]
""")
code("apply-gain-figure", """
cut = (slice(50, 150), slice(60, 180))
notes = [f"{share:.0f} % laid bare" for share in torn]
titles = [f"gain {g}" for g in gains]
fig = plots.image_row([shot[cut] for shot in shots], titles, notes, 1.45)
plots.show(
    fig,
    alt="Six crops of the same frame with gains from -2 to 4. At 1 the flowers lean as "
    f"in the clip; at 4 heads are torn to streaks and {torn[-1]:.0f} percent of the "
    "picture is laid bare.",
    caption="The frame in which the large head is farthest out, with all motion times "
    "g, and how much of the picture nothing lands on. Two will do; at four it tears.",
)
""", tolerance={"abs": 1})
code("apply-slow", """
quarter = torch.arange(0, 149, 0.25)  # four frames for one
head = S[..., 70:120, 95:145]
smooth = spectral.motion(head, times=quarter)
straight = spectral.between(spectral.motion(head), quarter)
print(f"{len(quarter)} frames; straight lines miss the curve", end=" ")
print(f"by {(smooth - straight).abs().max():.1f} px at most")
assert (smooth[::4] - straight[::4]).abs().max() < 1e-4  # whole frames are the same
assert (smooth - straight).norm() < 0.05 * smooth.norm()
""", tolerance={"abs": 0.2})
md("apply-end", f"""
## What you have seen

- A clip has a clock of its own. Read by it, a telephone's changing rate does no harm; counted, it makes a rhythm that never was.
- Flow errs where there is nothing to see, and around what moves. Going there and back tells you of the first, and is blind to the second.
- A tremble is measured on what stands still *and* can be seen.
- Beyond some hertz you read the error of the measurement, and its spectrum has a law of its own.
- From the first frame alone the clip comes back, and can be pulled: with the right shape, and a decay that is made up.

**What did not come out:** the made clip frays at every edge, and that is the flow: with the exact one the same renderer is 2 dB better. No better flow came with this book, and a learned one needs weights that we do not ship (`flow.load_raft` takes yours). {"The photograph moves, and no more can be said for it." if PHOTOGRAPH else ""} And the clip is drawn. Real leaves flutter, real light changes, and you will see worse.

**Where paper and code differ:** the paper's flow is another (a classical one, coarse to fine), and public code subtracts motion common to all of the picture without saying so, which is `remove_shift` without a mask. See [the paper's page](../../book/dynamics/paper.md), and the [questions of those who tried](../../book/dynamics/your_video.md).

**Next:** [film your own](../../book/dynamics/your_video.md); then the [exercises](5_exercises.ipynb).

**Further reading:** Davis et al., *Image-Space Modal Bases for Plausible Manipulation of Objects in Video* (2015), where pulling a video comes from; Neoral et al., *MFT: Long-Term Tracking of Every Pixel* (2023), on flow that lasts.
""")
