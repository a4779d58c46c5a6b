# SPDX-License-Identifier: Apache-2.0
"""What the compilers of other machines say of our programs, on a machine without their devices.

targets    the machines, by name, with their published facts
compilers  their compilers, and what must be said before JAX starts
lowering   a pass of a prediction, a step of training
reading    memory, kernels and exchanges of a compiled program
report     all of that for people and for programs
outlook    what our estimates say of a machine, without a compiler
"""
