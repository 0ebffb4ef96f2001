_base_ = './net.py'
